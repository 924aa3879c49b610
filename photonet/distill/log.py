"""What is written while a run goes on: its history so far, its weights, its curves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from ..errors import MissingDependency
from ..files import atomic_path
from .trainer import EachEpoch

__all__ = ["curves", "keep_weights", "save_weights"]


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights of a model as safetensors, atomically."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}, temporary)


def keep_weights(model: nn.Module, folder: Path) -> EachEpoch:
    """Write the weights after every epoch: ``epochs/0001.safetensors`` and so on.

    They are what a `photonet.distill.Trajectory` follows.
    """

    def keep(epoch: int, row: dict[str, float]) -> None:
        save_weights(model, folder / "epochs" / f"{epoch:04d}.safetensors")

    return keep


@contextlib.contextmanager
def curves(folder: Path) -> Iterator[EachEpoch]:
    """Show every quantity of the history in TensorBoard (``tensorboard --logdir folder``).

    Raises:
        MissingDependency: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingDependency(
            "tensorboard=True needs the package tensorboard: pip install tensorboard; "
            "history.csv and history.nc are written without it"
        ) from None
    writer = SummaryWriter(str(folder / "tensorboard"))

    def show(epoch: int, row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    try:
        yield show
    finally:
        writer.close()
