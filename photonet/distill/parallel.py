"""The processes of a run: one, or those of a launched `lightning.Fabric`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InvalidArgument

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["Processes"]

PRECISIONS = ("32-true", "bf16-mixed")


class Processes:
    """Who computes which rows of a batch, and how the parts come together.

    Every process holds the same model and the same data and draws the same random numbers; of each batch it
    computes its own rows. With one process nothing here costs anything.

    Args:
        fabric: a `lightning.Fabric` on which ``launch`` was called; None for this process alone, in the
            precision of the model.

    Raises:
        InvalidArgument: something else, or a precision other than ``32-true`` and ``bf16-mixed``.

    Example:
        >>> alone = Processes(None)
        >>> alone.count, alone.first, alone.rows(6)
        (1, True, slice(0, 6, None))
    """

    def __init__(self, fabric: Fabric | None) -> None:
        if fabric is not None and not hasattr(fabric, "global_rank"):
            raise InvalidArgument("fabric", "a lightning.Fabric, or None", repr(fabric)[:80])
        self.fabric = fabric
        self.count = 1 if fabric is None else fabric.world_size
        self.rank = 0 if fabric is None else fabric.global_rank
        self.precision: str = "32-true" if fabric is None else fabric.strategy.precision.precision
        if self.precision not in PRECISIONS:
            raise InvalidArgument("fabric", f"precision {' or '.join(PRECISIONS)}", self.precision)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """The rows of a batch that are computed here.

        Raises:
            InvalidArgument: a batch that cannot be shared evenly.
        """
        if batch % self.count:
            raise InvalidArgument("batch_size", f"a multiple of the {self.count} processes", batch)
        share = batch // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        """The parts of all processes one after the other, without gradient."""
        if self.count == 1:
            return part
        own = part.detach().contiguous()
        parts = [torch.empty_like(own) for _ in range(self.count)]
        torch.distributed.all_gather(parts, own)
        return torch.cat(parts)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the sum over the processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The precision of the student's forward passes."""
        return contextlib.nullcontext() if self.fabric is None else self.fabric.autocast()

    def one_after_the_other(self) -> contextlib.AbstractContextManager[Any]:
        """The first process does what is inside before the others do; they find its files."""
        return contextlib.nullcontext() if self.fabric is None else self.fabric.rank_zero_first()

    def check(self, model: nn.Module, parts: int) -> None:
        """Refuse what cannot be computed in parts.

        Raises:
            InvalidArgument: first weights that differ between the processes, or batch normalisation, which
                mixes samples of parts that are not there at the same time.
        """
        if parts > 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
            raise InvalidArgument(
                "student", "samples that do not mix, to compute a batch in parts", "batch normalisation",
                "use group normalisation, or several processes and accumulate=1",
            )  # fmt: skip
        if self.count > 1:
            own = torch.stack([p.detach().double().sum() for p in model.state_dict().values()])
            if bool((self.gather(own[None]) != own).any()):
                raise InvalidArgument(
                    "student", "the same first weights in every process", "weights that differ",
                    "call torch.manual_seed, or fabric.seed_everything, before you build it",
                )  # fmt: skip
