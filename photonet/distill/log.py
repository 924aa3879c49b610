"""What is written while a run goes on: its history so far, its weights, its curves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import MissingDependency
from ..files import atomic_path, write_text
from .trainer import EachEpoch, history_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["curves", "history_csv", "keep_history", "keep_weights", "remove_run", "save_weights"]

LEFT = (
    "teacher.h5",
    "teacher.h5.parts/*",
    "checkpoint.safetensors",
    "history.csv",
    "epochs/[0-9]*.safetensors",
    "tensorboard/events.out.tfevents.*",
)
"""The files of a run in its folder."""

HALF_WRITTEN = (".teacher-*.h5", ".checkpoint-*.safetensors", ".history-*.csv", "epochs/.[0-9]*.safetensors")
"""What is left beside them where a run was killed."""


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights of a model as safetensors, atomically."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}, temporary)


def history_csv(history: xr.Dataset) -> str:
    """A history as a table: one line an epoch, one column a quantity."""
    names = [str(name) for name in history]
    columns = [history["epoch"].values.tolist(), *(history[name].values.tolist() for name in names)]
    lines = [["epoch", *names], *([repr(value) for value in row] for row in zip(*columns, strict=True))]
    return "".join(",".join(line) + "\n" for line in lines)


def keep_history(folder: Path) -> EachEpoch:
    """Write the table ``history.csv`` anew after every epoch."""

    def keep(rows: list[dict[str, float]]) -> None:
        write_text(folder / "history.csv", history_csv(history_of(rows)))

    return keep


def remove_run(folder: Path) -> None:
    """Remove what a run left in its folder, the runs of tried learning rates included, and nothing else."""
    rates = sorted(folder.glob("lr-[0-9]*"))
    for rate in rates:
        remove_run(rate)
    for pattern in LEFT + HALF_WRITTEN:
        for file in sorted(folder.glob(pattern)):
            file.unlink()
    for own in (folder / "teacher.h5.parts", folder / "epochs", folder / "tensorboard", *rates):
        if own.is_dir() and not any(own.iterdir()):
            own.rmdir()


def keep_weights(model: nn.Module, folder: Path) -> EachEpoch:
    """Write the weights after every epoch: ``epochs/0001.safetensors`` and so on.

    They are what a `photonet.distill.Trajectory` follows.
    """

    def keep(rows: list[dict[str, float]]) -> None:
        save_weights(model, folder / "epochs" / f"{len(rows):04d}.safetensors")

    return keep


def summary_writer() -> Any:
    """The class that writes for TensorBoard.

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
    return SummaryWriter


@contextlib.contextmanager
def curves(folder: Path) -> Iterator[EachEpoch]:
    """Show every quantity of the history in TensorBoard (``tensorboard --logdir folder``).

    Raises:
        MissingDependency: TensorBoard is not installed.
    """
    writer = summary_writer()(str(folder / "tensorboard"))

    def show(rows: list[dict[str, float]]) -> None:
        for name, value in rows[-1].items():
            writer.add_scalar(name, value, len(rows))
        writer.flush()

    try:
        yield show
    finally:
        writer.close()
