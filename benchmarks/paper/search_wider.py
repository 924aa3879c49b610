"""The losses of the search in two other worlds: devices that are not as designed, and scenes of pixels.

*Devices*: MNIST, every step of the training is another device of Eq. 10, and what counts is the accuracy of
devices that are not corrected. *Pixels*: CamVid, cars against the rest, at half its size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from photonet import data
from photonet.data import Images, Splits, against_rest
from photonet.distill import METHODS, CrossEntropy, Moved, Term, TrainConfig, accuracy, predict
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork

from .arms import Arm, measure, scores, train_teacher, tuned
from .camvid import Driven, student, teacher
from .cells import Cells
from .mnist import RATES, bench
from .search import losses
from .table4 import ERRORS

DEVICES = 20
SHOWN = slice(None, None, 5)
"""Of the pictures that judge, to each device."""

EVERY_PAIR = ("full class blocks", "trace over classes")
"""Need a pass for every output, which pixels have too many of."""

HALF = (160, 224)
"""Rows and columns at full size: of half of them every scale has whole pixels."""


def alternatives() -> dict[str, tuple[Term, ...]]:
    """Distillation first, the published loss and the default among the others."""
    found = losses()
    return {
        "kd": found.pop("kd"),
        "labels": (CrossEntropy(),),
        "ntkd-paper": METHODS["ntkd-paper"],
        "ntkd": METHODS["ntkd"],
        **found,
    }


def on_devices(model: nn.Module, splits: Splits) -> dict[str, Any]:
    """Accuracies of the design on test pictures, and the mean and the worst of devices; ``val`` on others."""
    assert isinstance(model, HybridNetwork)

    def made(images: Images, first: int) -> list[float]:
        pictures, labels = images.images[SHOWN], images.labels[SHOWN]
        found = []
        for seed in range(first, first + DEVICES):
            device = ERRORS.make(model.frontend, generator=torch.Generator().manual_seed(seed))
            found.append(accuracy(predict(HybridNetwork(device, model.backend), pictures), labels))
        return found

    test, val = made(splits.test, 1000), made(splits.val, 2000)
    return {
        **measure(model, splits), "devices": sum(test) / DEVICES, "worst": min(test),
        "val": sum(val) / DEVICES,
    }  # fmt: skip


def run_devices(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing, each arm as devices, and distillation without any besides."""
    b = replace(bench(folder, seeds, out, work), cells=Cells(out / "search-devices.json"))
    ten = b.first(10_000)
    options: dict[str, Any] = {"teacher": b.teacher, "judge": on_devices}
    config = TrainConfig(epochs=10)
    arms = {
        name: Arm(compressed_meta, "compressed_meta", terms, config, noise=ERRORS)
        for name, terms in alternatives().items()
    }
    arms["kd without noise"] = replace(arms["kd"], noise=None)
    for name, arm in arms.items():
        chosen = tuned(b.cells, name, arm, RATES, ten, work / "search", **options)
        scores(b.cells, name, chosen, range(seeds), ten, work / "search", **options)


def smaller(images: Images) -> Images:
    """Cars against the rest, two pixels by two averaged; the label is that of the upper left one."""
    rows, columns = HALF
    pixels = F.avg_pool2d(images.pixels[..., :rows, :columns].float() / 255, 2)
    labels = images.labels[..., :rows:2, :columns:2]
    return against_rest(replace(images, pixels=pixels, labels=labels), "car")


def run_pixels(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells = Cells(out / "search-pixels.json")
    splits = Splits(*(smaller(images) for images in data.camvid(folder)))
    views = Driven(Moved(rotation=0.05, scale=0.25, shift=8.0))
    config = TrainConfig(epochs=16, batch_size=8)
    whole = Arm(teacher, "unet", "ce", replace(config, lr=3e-3), views=views)
    taught = train_teacher(cells, "unet", teacher, whole, splits, work / "pixels")
    for name, terms in alternatives().items():
        if name not in EVERY_PAIR:
            arm = Arm(student, "polychromatic_segmentation(width=160)", terms, config, views)
            chosen = tuned(cells, name, arm, (2e-3, 5e-3), splits, work / "pixels", teacher=taught)
            scores(cells, name, chosen, range(seeds), splits, work / "pixels", teacher=taught)
