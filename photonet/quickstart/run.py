"""`quickstart`: the whole road on real pictures, from a teacher to corrected devices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..data import Splits, load
from ..progress import track
from .config import QuickstartConfig
from .report import write_quickstart_report
from .results import collect, save
from .road import Road, score, take_road, train_teacher, tune
from .study import study

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["quickstart"]


def quickstart(
    config: QuickstartConfig,
    out: str | Path,
    *,
    folder: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[xr.Dataset, xr.Dataset, list[Road]]:
    """Distil, design, fabricate, measure and correct; write everything into a folder.

    Args:
        config: see `QuickstartConfig`.
        out: folder of the run; files of an earlier run there are replaced one by one.
        folder: of the data, where the data set needs one.
        say: called with a line of text at each step.

    Returns:
        Table and curves, the tolerance study, and the roads of the seeds.

    Raises:
        DataMissing: the data set is not there; the message says how to get it.
    """
    with _one_thread():
        return _run(config, Path(out), folder, say)


def _run(
    config: QuickstartConfig, out: Path, folder: str | Path | None, say: Callable[[str], None]
) -> tuple[xr.Dataset, xr.Dataset, list[Road]]:
    splits = _limit(load(config.data, folder), config)
    sizes = ", ".join(f"{len(part)} {name}" for name, part in splits._asdict().items())
    say(f"{config.data}: {sizes} pictures")
    say("training the teacher")
    teacher = train_teacher(splits, config)
    teacher_accuracy = score(teacher, splits.test.images, splits.test.labels)
    say("choosing learning rates on validation data")
    rates = tune(teacher, splits, config)
    roads = []
    for seed in track(range(config.seed, config.seed + config.seeds), "seeds"):
        say(f"seed {seed}: students, masks, device, correction")
        roads.append(take_road(seed, teacher, rates, splits, config))
    say(f"tolerance study of {config.devices} devices")
    first = roads[0]
    devices = study(first.student, first.design, splits, config)
    results = collect(teacher_accuracy, roads, rates, splits.train.hash, config)
    save(out, results, devices, roads, config)
    say("writing the report")
    write_quickstart_report(out, results, devices, roads, splits, config)
    return results, devices, roads


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums split over threads round differently: with one, every machine prints the same table.

    The networks are so small that a second thread saves little (and costs much on a busy machine).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _limit(splits: Splits, config: QuickstartConfig) -> Splits:
    """The first training pictures (any prefix is a fair sample, see `photonet.data`)."""
    if len(splits.train) <= config.train:
        return splits
    return splits._replace(train=splits.train.subset(torch.arange(config.train)))
