"""What a kernel can learn: its spectrum, ridge regression with it, and which samples tell most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import checks
from ..errors import InvalidArgument
from ..precision import single
from .similarity import center

__all__ = ["Regression", "Spectrum", "informative", "leverage", "regress", "spectrum"]

STRENGTHS = tuple(10.0 ** (e / 4) for e in range(-24, 9))


def _kernel(k: Tensor) -> Tensor:
    """The kernel in single precision at least: torch decomposes no shorter numbers."""
    square = isinstance(k, Tensor) and k.ndim == 2 and k.shape[0] == k.shape[1] and len(k) > 1
    if not square or not k.is_floating_point():
        got = f"shape {tuple(k.shape)} of {k.dtype}" if isinstance(k, Tensor) else type(k).__name__
        raise InvalidArgument("k", "a real kernel [n, n] of at least 2 samples", got)
    return single(checks.finite("k", k.detach()))


def _against(name: str, k: Tensor, n: int) -> Tensor:
    """A kernel of any samples against the n training samples."""
    if not isinstance(k, Tensor) or k.ndim == 0 or k.shape[-1] != n or k.is_complex():
        got = f"shape {tuple(k.shape)} of {k.dtype}" if isinstance(k, Tensor) else type(k).__name__
        raise InvalidArgument(name, f"a kernel [..., {n}] against the training samples", got)
    return k


def _targets(name: str, y: Tensor, n: int, c: int | None = None) -> Tensor:
    """Targets of n samples, [n, c]."""
    flat = y.detach().unsqueeze(1) if isinstance(y, Tensor) and y.ndim == 1 else y
    fits = isinstance(flat, Tensor) and flat.ndim == 2 and len(flat) == n and c in (None, flat.shape[1])
    if not fits or flat.is_complex():
        got = f"shape {tuple(y.shape)} of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        wanted = f"targets [{n}] or [{n}, c]" if c is None else f"targets [{n}, {c}]"
        raise InvalidArgument(name, wanted, got)
    return checks.finite(name, flat.detach())


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a kernel, largest first, and what they say.

    Args:
        values: [n].
        vectors: [n, n], one column each.
    """

    values: Tensor
    vectors: Tensor

    @property
    def participation(self) -> float:
        """Participation ratio (sum)^2 / sum of squares: how many directions carry the kernel; 0 if none."""
        largest = self.values.abs().max()
        if largest == 0:
            return 0.0
        shares = self.values / largest  # squares of small values are 0 in single precision
        return float(shares.sum().square() / shares.square().sum())

    def dimension(self, strength: float) -> float:
        """Effective dimension sum e / (e + strength) of ridge regression (Zhang 2005)."""
        values = self.values.clamp_min(0)
        return float((values / (values + checks.positive("strength", strength))).sum())


def spectrum(k: Tensor) -> Spectrum:
    """Eigendecomposition of a kernel.

    Args:
        k: [n, n], symmetric; half precision is computed in single precision.

    Raises:
        InvalidArgument: no real kernel of two or more samples, or one that is not finite.

    Example:
        >>> s = spectrum(torch.diag(torch.tensor([1.0, 3.0])))
        >>> s.values.tolist(), s.participation, s.dimension(1.0)
        ([3.0, 1.0], 1.600000023841858, 1.25)
    """
    k = _kernel(k)
    values, vectors = torch.linalg.eigh((k + k.mT) / 2)
    return Spectrum(values.flip(0), vectors.flip(1))


@dataclass(frozen=True)
class Regression:
    """A fitted kernel ridge regression, f(x) = k(x, train) coefficients + intercept.

    Args:
        coefficients: [n, c].
        intercept: [c].
        strength: the ridge that was used, in units of the kernel.
        left_out: prediction for each training sample by the fit without it, [n, c].
    """

    coefficients: Tensor
    intercept: Tensor
    strength: float
    left_out: Tensor

    def predict(self, k: Tensor) -> Tensor:
        """Predictions [n_test, c].

        Args:
            k: kernel of test against training samples, [n_test, n]; taken in the precision of the fit.

        Raises:
            InvalidArgument: a kernel with other than the n training samples, or a complex one.
        """
        k = _against("k", k, len(self.coefficients)).to(self.coefficients)
        return k @ self.coefficients + self.intercept


def regress(
    k: Tensor,
    y: Tensor,
    *,
    strength: float | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Regression:
    """Kernel ridge regression with an intercept that is not penalised.

    The strength is that of least squared error among 33 values from 1e-6 to 1e2 times the mean diagonal of
    the centred kernel: on the validation set if one is given, else by leave-one-out in closed form,
    (y_i - f(x_i)) / (1 - S_ii) with S the smoother including the intercept (leaving the intercept out
    chooses too small a strength).

    Args:
        k: kernel of the training samples, [n, n]; half precision is computed in single precision.
        y: targets, [n] or [n, c]; for classes, one-hot.
        strength: the ridge itself, in units of the kernel; None to choose it.
        validation: (kernel [n_val, n] against the training samples, targets [n_val, c]).

    Raises:
        InvalidArgument: shapes that do not fit, NaN, no samples to validate with, or a strength that is not
            positive.

    Example:
        >>> x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
        >>> fit = regress(x @ x.T, 2 * x + 5)
        >>> round(fit.predict(0.5 * x.T).item(), 3)
        6.0
    """
    k = _kernel(k)
    y = _targets("y", y, len(k)).to(k)
    judge = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            got = type(validation).__name__
            raise InvalidArgument("validation", "a pair of a kernel [n_val, n] and targets [n_val, c]", got)
        held_out = checks.finite(
            "validation[0]", _against("validation[0]", validation[0], len(k)).detach().to(k)
        )
        if held_out.ndim != 2 or not len(held_out):
            expected = f"a kernel [n_val, {len(k)}] of at least one sample"
            raise InvalidArgument("validation[0]", expected, f"shape {tuple(held_out.shape)}")
        judge = held_out, _targets("validation[1]", validation[1], len(held_out), y.shape[1]).to(k)
    s = spectrum(center(k))
    values, vectors = s.values.clamp_min(0), s.vectors
    mean = y.mean(0)
    rotated = vectors.mT @ (y - mean)
    scale = float(values.mean()) or 1.0  # a kernel that tells no samples apart leaves the intercept alone
    tiny = torch.finfo(k.dtype).eps

    def fit(ridge: float) -> Regression:
        coefficients = vectors @ (rotated / (values + ridge)[:, None])
        intercept = mean - k.mean(0) @ coefficients
        smoother = 1 / len(k) + vectors.square() @ (values / (values + ridge))
        # residual = ridge * coefficients, so the left-out residual follows without a second fit
        left_out = y - ridge * coefficients / (1 - smoother).clamp_min(tiny)[:, None]
        return Regression(coefficients, intercept, ridge, left_out)

    def error(found: Regression) -> float:
        answers, wanted = (found.left_out, y) if judge is None else (found.predict(judge[0]), judge[1])
        return float((answers - wanted).square().mean())

    if strength is not None:
        return fit(checks.positive("strength", strength))
    return min((fit(scale * relative) for relative in STRENGTHS), key=error)


def leverage(k: Tensor, strength: float) -> Tensor:
    """Ridge leverage scores, the diagonal of K (K + strength)^-1: how much each sample decides its own fit.

    Args:
        k: [n, n].
        strength: ridge, in units of the kernel.

    Returns:
        [n], in [0, 1); their sum is the effective dimension.

    Example:
        >>> leverage(torch.eye(2), 1.0).tolist()
        [0.5, 0.5]
    """
    s = spectrum(k)
    values = s.values.clamp_min(0)
    return s.vectors.square() @ (values / (values + checks.positive("strength", strength)))


def informative(k: Tensor, count: int, *, strength: float) -> Tensor:
    """Samples chosen one by one so that log det(K_chosen + strength) grows most (pivoted Cholesky).

    The greedy set reaches at least 1 - 1/e of the best gain (Nemhauser et al. 1978). A kernel of unit
    diagonal (cosine-normalised) keeps samples of large gradient from being taken for their size.

    Args:
        k: [n, n].
        count: how many.
        strength: noise variance, in units of the kernel.

    Returns:
        [count] indices, the most informative first.

    Example:
        >>> k = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.9]])
        >>> informative(k, 2, strength=0.1).tolist()
        [0, 2]
    """
    k = _kernel(k)
    if checks.count("count", count) > len(k):
        raise InvalidArgument("count", f"at most the {len(k)} samples", count)
    noise = checks.positive("strength", strength)
    variance = k.diagonal().clone()  # of each sample, given those already chosen
    columns = k.new_zeros(len(k), count)
    chosen = torch.zeros(count, dtype=torch.long, device=k.device)
    for step in range(count):
        best = variance.argmax()
        chosen[step] = best
        column = (k[:, best] - columns[:, :step] @ columns[best, :step]) / (variance[best] + noise).sqrt()
        columns[:, step] = column
        variance = (variance - column.square()).index_fill(0, chosen[: step + 1], -torch.inf)
    return chosen
