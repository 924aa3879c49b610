"""Short random features of per-sample gradients whose inner products estimate the kernel.

CountSketch adds every entry, with a random sign, into one of k buckets (Charikar et al. 2002); of an outer
product it is the circular convolution of two short sketches (TensorSketch, Pham and Pagh, KDD 2013). The
Gaussian product sketch multiplies random projections of both sides. All are unbiased, with a relative
error of order 1/sqrt(k), and linear in the output direction.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import checks
from ..errors import InvalidArgument
from ..precision import full_precision, single
from ..streams import stream
from .factors import Correlation, Factor, Outer, dense
from .jacobian import Tangents
from .similarity import over

__all__ = ["Sketch", "sketch_error"]

AT_ONCE = 2**24
"""Numbers in memory at a time where a sketch goes position by position."""


@dataclass(frozen=True)
class Sketch:
    """A fixed random map from Jacobians to ``size`` numbers per sample and direction.

    The same seed gives the same map for every batch, chunk and process.

    Args:
        size: numbers per sample and direction.
        kind: ``"count"`` or ``"gaussian"``.
        seed: of the map.
        blocks: independent parts, whose spread is the error estimate of `sketch_error`.

    Raises:
        InvalidArgument: a size that the blocks do not divide, a negative seed, or an unknown kind.

    Example:
        >>> from photonet.ntk import tangents
        >>> model = torch.nn.Linear(30, 2)
        >>> Sketch(size=64)(tangents(model, torch.ones(5, 30))).shape
        torch.Size([5, 2, 64])
    """

    size: int = 1024
    kind: str = "count"
    seed: int = 0
    blocks: int = 4
    _drawn: dict[tuple[object, ...], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks.choice("kind", self.kind, ("count", "gaussian"))
        if checks.count("size", self.size) % checks.count("blocks", self.blocks, 2):
            raise InvalidArgument("size", f"a multiple of the {self.blocks} blocks", self.size)
        checks.count("seed", self.seed, least=0)

    def __call__(self, found: Tangents) -> Tensor:
        """Features [n, m, size]; their inner products estimate the kernel. Differentiable.

        Raises:
            InvalidArgument: something else than `tangents`.
        """
        checks.instance("found", found, Tangents, "tangents, as ntk.tangents(model, x)")
        kind = self._count if self.kind == "count" else self._gaussian
        total = found.outputs.new_zeros(len(found.outputs), found.directions, self.size)
        for name, factor in found.factors.items():
            total = total + kind(name, factor)
        return total

    def _draw(self, name: str, what: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Signs, buckets or normal numbers that depend on the seed, the parameter and the purpose only."""
        key = (name, what, shape, like.dtype, like.device)
        if key not in self._drawn:
            generator = stream(self.seed, f"{name}/{what}")
            if what.startswith("bucket"):
                drawn = torch.randint(0, self.size // self.blocks, shape, generator=generator)
                self._drawn[key] = drawn.to(like.device)
            elif what.startswith("sign"):
                signs = 2 * torch.randint(0, 2, shape, generator=generator) - 1
                self._drawn[key] = signs.to(like)
            else:
                self._drawn[key] = torch.randn(shape, generator=generator, dtype=torch.float64).to(like)
        return self._drawn[key]

    def _fold(self, name: str, side: str, values: Tensor) -> Tensor:
        """CountSketch of the last axis: [..., p] -> [..., blocks, size / blocks]."""
        values = single(values)  # sparse products know no short numbers
        rows = values.reshape(-1, values.shape[-1]).T
        with full_precision(values):
            folded: Tensor = torch.sparse.mm(self._matrix(name, side, values), rows)
        return folded.T.reshape(*values.shape[:-1], self.blocks, -1)

    def _matrix(self, name: str, side: str, values: Tensor) -> Tensor:
        """The signs in their buckets as a sparse matrix [size, p], a sixth of the time of adding rows."""
        p, blocks = values.shape[-1], self.blocks
        key = (name, f"matrix {side}", (blocks, p), values.dtype, values.device)
        if key not in self._drawn:
            bucket = self._draw(name, f"bucket {side}", (blocks, p), values)
            sign = self._draw(name, f"sign {side}", (blocks, p), values)
            width = self.size // blocks
            row = bucket + width * torch.arange(blocks, device=bucket.device)[:, None]
            column = torch.arange(p, device=bucket.device).expand(blocks, p)
            at = torch.stack([row.flatten(), column.flatten()])
            matrix = torch.sparse_coo_tensor(at, sign.flatten(), (self.size, p), check_invariants=True)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
                self._drawn[key] = matrix.coalesce().to_sparse_csr()
        return self._drawn[key]

    def _count(self, name: str, factor: Factor) -> Tensor:
        scale = self.blocks**-0.5
        pair = self._outer(factor)
        if pair is None:
            return self._fold(name, "all", dense(factor)).flatten(2) * scale
        m, positions = max(pair.act.shape[1], pair.delta.shape[1]), pair.act.shape[3]
        step = max(1, AT_ONCE // (len(pair.act) * m * self.size))
        product: Tensor | float = 0.0
        for start in range(0, positions, step):
            some = slice(start, start + step)
            left = torch.fft.rfft(self._fold(name, "act", pair.act[:, :, 0, some]))
            right = torch.fft.rfft(self._fold(name, "delta", pair.delta[:, :, 0, some]))
            product = product + (left * right).sum(2)
        return torch.fft.irfft(product, n=self.size // self.blocks).flatten(2) * scale

    def _outer(self, factor: Factor) -> Outer | None:
        """The factor as outer products if sketches of both sides cost less than the gradient itself.

        A rule of the weight alone: batches and pictures of any size take the same road, or their sketches
        would have nothing in common. FFTs of all positions cost more of a convolution than of a dense layer.
        """
        if isinstance(factor, Correlation):
            outputs, inputs = factor.delta.shape[2], factor.x.shape[2] * math.prod(factor.geometry.kernel)
            worth = factor.geometry.groups == 1 and inputs * outputs > 64 * self.size
            return factor.outer() if worth else None
        if isinstance(factor, Outer):
            groups, _, inputs = factor.act.shape[2:]
            return factor if groups == 1 and inputs * factor.delta.shape[-1] > 16 * self.size else None
        return None

    def _gaussian(self, name: str, factor: Factor) -> Tensor:
        scale = self.size**-0.5
        if isinstance(factor, Tensor):
            j = dense(factor)
            return j @ self._draw(name, "normal all", (j.shape[2], self.size), j) * scale
        pair = factor if isinstance(factor, Outer) else factor.outer()
        g, i, o = pair.act.shape[2], pair.act.shape[4], pair.delta.shape[4]
        left = pair.act @ self._draw(name, "normal act", (g, i, self.size), pair.act)
        right = pair.delta @ self._draw(name, "normal delta", (g, o, self.size), pair.delta)
        return (left * right).sum((2, 3)) * scale


def sketch_error(features: Tensor, blocks: int = 4) -> Tensor:
    """Estimated relative error (Frobenius) of a sketched kernel, from the spread of its independent blocks.

    Args:
        features: [n, m, size] of a `Sketch` with that many blocks.
        blocks: at least 2.

    Returns:
        [], the standard error over the norm of the kernel; 0 of features that are all 0.

    Raises:
        InvalidArgument: not features of so many blocks.

    Example:
        >>> from photonet.ntk import tangents
        >>> features = Sketch(size=64)(tangents(torch.nn.Linear(30, 2), torch.eye(30)))
        >>> 0 < sketch_error(features).item() < 1
        True
    """
    checks.count("blocks", blocks, 2)
    if not isinstance(features, Tensor) or features.ndim != 3 or features.shape[2] % blocks:
        got = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        raise InvalidArgument("features", f"a tensor [n, m, size] of {blocks} equal blocks", got)
    n, m, size = features.shape
    parts = features.reshape(n, m, blocks, size // blocks).permute(2, 0, 1, 3).flatten(2)
    kernels = blocks * parts @ parts.mT
    spread = (kernels - kernels.mean(0)).square().sum() / (blocks * (blocks - 1))
    return over(spread.sqrt(), torch.linalg.matrix_norm(kernels.mean(0)))
