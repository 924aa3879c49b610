"""Table 4 of arXiv 2508.08421: after fabrication, a tenth of the training pictures measured.

Devices are those of Eq. 10 (`photonet.distill.DeviceNoise`): unequal brightness, misregistration, an error of
every kernel pixel, and a camera. The optics stay as they are; every method is `photonet.correct`, which may
keep nothing. The virtual laboratory's masks and benches are in ``benchmarks.correction``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photonet import correct, data
from photonet.data import Images, Splits, cropped
from photonet.detector import Detector
from photonet.distill import DeviceNoise, Moved, TrainConfig, accuracy, mean_iou, predict
from photonet.distill.chain import needs_of
from photonet.measured import Measured
from photonet.models import alexnet, compressed_meta, lenet, packed, polychromatic_meta, unet
from photonet.nn import HybridNetwork

from . import camvid, cifar10
from .arms import Arm, train_teacher
from .cells import Cells

METHODS = ("none", "ce", "kd", "ntkd-paper", "calibration", "calibration+kd")
ERRORS = DeviceNoise(gain=0.1, shift=0.5, rotation=0.03, kernel=0.3, camera=Detector())
"""Shift in pixels of the feature maps; one setting for the three tasks."""

PART = 10
"""One in so many training pictures is measured."""


@dataclass(frozen=True)
class Task:
    """One column of the table.

    Args:
        student, teacher: their arms; what they build is trained once and kept.
        splits: of the pictures.
        score: of outputs and labels.
        config: of the fine-tuning; None is the default of `photonet.correct`.
    """

    student: Arm
    teacher: Arm
    splits: Splits
    score: Callable[[torch.Tensor, torch.Tensor], float] = accuracy
    config: TrainConfig | None = None


def tasks(folder: str | None) -> dict[str, Callable[[], Task]]:
    """The columns, each read when it is wanted."""
    short = TrainConfig(epochs=12, batch_size=125)

    def mnist() -> Task:
        taught = Arm(lenet, "lenet", "ce", TrainConfig(epochs=10, batch_size=64), views=Moved())
        student = Arm(compressed_meta, "compressed_meta", "ce", TrainConfig(epochs=20, lr=2e-2))
        return Task(student, taught, data.mnist(folder))

    def cifar() -> Task:
        taught = Arm(
            lambda: alexnet(width=32), "alexnet(width=32)", cifar10.LABELS, short, cropped, bfloat16=True
        )
        student = Arm(
            polychromatic_meta, "polychromatic_meta()", cifar10.LABELS,
            replace(short, epochs=16, lr=2e-3), cropped, bfloat16=True,
        )  # fmt: skip
        return Task(student, taught, data.cifar10(folder))

    def cars() -> Task:
        config = TrainConfig(epochs=24, batch_size=8)
        views = camvid.Driven()
        taught = Arm(unet, "unet", "ce", replace(config, lr=3e-3), views, bfloat16=True)
        student = Arm(
            camvid.student, "polychromatic_segmentation(width=160)", "ce", replace(config, lr=2e-3), views,
            bfloat16=True,
        )  # fmt: skip
        tuning = TrainConfig(epochs=20, batch_size=8, lr=1e-3, weight_decay=0.05)
        return Task(student, taught, camvid.cars(folder), mean_iou, tuning)

    return {"mnist": mnist, "cifar10": cifar, "camvid": cars}


def measured(device: nn.Module, pictures: Images) -> Measured:
    """What a device sees of pictures, each once."""
    scenes = pictures.images
    with torch.no_grad():
        return Measured(scenes, torch.cat([device(x) for x in scenes.split(100)]), pictures.labels)


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Compute what is missing; a seed is a device."""
    cells = Cells(out / "table4.json")
    for name, task in tasks(folder).items():
        _column(cells, name, task(), seeds, work)


def _column(cells: Cells, name: str, task: Task, seeds: int, work: Path) -> None:
    @cache
    def trained(who: str) -> tuple[nn.Module, str]:
        arm = {"student": task.student, "teacher": task.teacher}[who]
        return train_teacher(cells, f"{name}, {who}", arm.student, arm, task.splits, work)

    student, learnt = trained("student")
    assert isinstance(student, HybridNetwork)
    first = task.splits.test.images[:1]
    if not isinstance(predict_features(student, first), torch.Tensor):
        student = packed(student, first).eval()
    few = task.splits.train.subset(slice(None, None, PART))
    for seed in range(seeds):
        device = ERRORS.make(student.frontend, generator=torch.Generator().manual_seed(seed))
        shown, test = measured(device, few), measured(device, task.splits.test)
        for method in METHODS:
            teacher, taught = trained("teacher") if needs_of(method) - {"labels"} else (None, None)
            settings = {
                "errors": repr(ERRORS), "device": seed, "method": method, "frames": len(shown),
                "teacher": taught, "student": learnt,
                "config": None if task.config is None else task.config.as_dict(),
            }  # fmt: skip
            compute = partial(corrected, task, student, teacher, shown, test, method, seed)
            cells.get(f"{name}/{method}/{seed}", settings, compute)


def corrected(
    task: Task,
    student: HybridNetwork,
    teacher: nn.Module | None,
    shown: Measured,
    test: Measured,
    method: str,
    seed: int,
) -> dict[str, Any]:
    """The score of one device after one method."""
    found = correct(
        student, shown, teacher=teacher, fraction=1.0, method=method, config=task.config, seed=seed
    )
    assert test.labels is not None
    score = task.score(predict(found.student.backend, test.features), test.labels)
    return {"test": score, "kept": found.kept, "map": found.calibration}


@torch.no_grad()
def predict_features(student: HybridNetwork, scene: torch.Tensor) -> object:
    """One tensor of feature maps, or a tuple of them."""
    return student.features(scene)
