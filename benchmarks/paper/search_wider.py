"""The losses of the search in two other worlds: devices that are not as designed, and scenes of pixels.

*Devices*: MNIST, every step of the training is another device of Eq. 10, and what counts is the accuracy of
devices that are not corrected. *Pixels*: CamVid, cars against the rest, at a third of its size.
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
from photonet.distill import METHODS, NTK, CrossEntropy, Moved, Term, TrainConfig, accuracy, predict
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork

from .arms import Arm, measure, scores, train_teacher, tuned
from .camvid import Driven, student, teacher
from .cells import Cells
from .mnist import RATES, bench
from .search import FRESH, losses
from .table4 import ERRORS

DEVICES = 20
SHOWN = slice(None, None, 5)
"""Of the pictures that judge, to each device."""

EVERY_OUTPUT = ("full class blocks", "trace over classes")
"""Need a pass for every output; they changed nothing without devices."""

PROMISING = ("kd", "ntkd-paper", "residual in place of kd", "ten times the weight")
"""Best on devices with the first seeds, and distillation; repeated with seeds that chose nothing."""

OF_PIXELS = ("kd", "labels", "features", "ntkd-paper", "ntkd", "residual in place of kd")
"""A loss of each kind; a residual asks a teacher of maps along 16 directions a step: three times as long."""

WHOLE = ("ntkd-paper", "ntkd")
"""Whose kernels are also taken of whole maps."""

ROWS = slice(24, 168)
"""Of 180, without most of sky and road: a third of them has whole pixels in every scale."""


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
        if name not in EVERY_OUTPUT
    }
    arms["kd without noise"] = replace(arms["kd"], noise=None)
    for name, arm in arms.items():
        chosen = tuned(b.cells, name, arm, RATES, ten, work / "search", **options)
        scores(b.cells, name, chosen, range(seeds), ten, work / "search", **options)
        if name in PROMISING:
            scores(b.cells, f"fresh/{name}", chosen, FRESH, ten, work / "search", **options)


def of_maps(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The same loss, its kernel that of the map of each class in place of random signs at all pixels."""
    return tuple(replace(term, outputs="classes") if isinstance(term, NTK) else term for term in terms)


def smaller(images: Images) -> Images:
    """Cars against the rest, three pixels by three averaged; the label is that of the middle one."""
    pixels = F.avg_pool2d(images.pixels[..., ROWS, :].float() / 255, 3)
    labels = images.labels[..., ROWS, :][..., 1::3, 1::3]
    return against_rest(replace(images, pixels=pixels, labels=labels), "car")


def run_pixels(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells = Cells(out / "search-pixels.json")
    splits = Splits(*(smaller(images) for images in data.camvid(folder)))
    views = Driven(Moved(rotation=0.05, scale=0.25, shift=5.0))
    config = TrainConfig(epochs=8, batch_size=8)
    whole = Arm(teacher, "unet", "ce", replace(config, epochs=24, lr=3e-3), views=views, bfloat16=True)
    taught = train_teacher(cells, "unet", teacher, whole, splits, work / "pixels")
    known = {**alternatives(), "features": METHODS["features"]}
    losses_of = {name: known[name] for name in OF_PIXELS}
    losses_of |= {f"{name}, whole maps": of_maps(known[name]) for name in WHOLE}
    for name, terms in losses_of.items():
        arm = Arm(student, "polychromatic_segmentation(width=160)", terms, config, views, bfloat16=True)
        chosen = tuned(cells, name, arm, (2e-3, 5e-3), splits, work / "pixels", teacher=taught)
        scores(cells, name, chosen, range(seeds), splits, work / "pixels", teacher=taught)
