"""CIFAR-10 (JPEG): the CIFAR rows of Table 3 of arXiv 2508.08421 and what the readout makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from photonet import data
from photonet.data import Splits, cropped
from photonet.distill import CrossEntropy, Term, TrainConfig
from photonet.models import alexnet, ideal_lenses, polychromatic_meta, random_psfs

from .arms import Arm, scores, train_teacher, tuned
from .cells import Cells
from .mnist import RESIDUAL, fixed

LABELS = (CrossEntropy(smoothing=0.1),)
RATES = (2e-3, 5e-3)


def student(**options: Any) -> dict[str, Any]:
    """The student with these options, and the options in words."""
    words = ", ".join(f"{key}={value}" for key, value in options.items())
    return {"student": lambda: polychromatic_meta(**options), "design": f"polychromatic_meta({words})"}


def labels_alone(epochs: int, **options: Any) -> Arm:
    """No teacher."""
    config = TrainConfig(epochs=epochs, batch_size=125, lr=2e-3)
    return Arm(**student(**options), method=LABELS, views=cropped, config=config, bfloat16=True)


def matched(epochs: int) -> dict[str, Arm]:
    """The same student, pictures and steps: what differs is the loss."""
    config = TrainConfig(epochs=epochs, batch_size=125)
    methods: dict[str, str | tuple[Term, ...]] = {
        "none": "ce", "kd": "kd", "ntkd-paper": "ntkd-paper", "ntkd": "ntkd", "residual": RESIDUAL,
    }  # fmt: skip
    return {
        name: Arm(**student(), method=method, views=cropped, config=config, bfloat16=True)
        for name, method in methods.items()
    }


def readouts() -> dict[str, Arm]:
    """Labels alone, 6 epochs: what differs from the first arm of `matched` is the readout or the optics."""
    arm = matched(6)["none"]
    arms = {name: replace(arm, **student(readout=name)) for name in ("linear", "relu")}
    optics: dict[str, Callable[..., nn.Module]] = {"random PSFs": random_psfs, "lenses": ideal_lenses}
    for name, baseline in optics.items():
        build = fixed(polychromatic_meta, baseline)
        arms[name] = replace(arm, student=build, design=f"polychromatic_meta(), {name}")
    return arms


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells, splits = Cells(out / "cifar10.json"), data.cifar10(folder)
    scores(cells, "labels, 1.6 M", labels_alone(16), range(seeds), splits, work)
    scores(cells, "labels, 0.15 M", labels_alone(16, hidden=(72, 64)), range(seeds), splits, work)
    convolution = labels_alone(16, mixing=64, hidden=(120,))
    scores(cells, "labels, 0.14 M, convolution", convolution, range(seeds), splits, work)
    scores(cells, "labels, 1.6 M, 40 epochs", labels_alone(40), range(seeds), splits, work)
    config = TrainConfig(epochs=12, batch_size=125)
    whole = Arm(lambda: alexnet(width=32), "alexnet(width=32)", LABELS, config, views=cropped, bfloat16=True)
    teacher = train_teacher(cells, "alexnet", whole.student, whole, splits, work)
    few = Splits(splits.train.subset(slice(10_000)), splits.val, splits.test)
    parts = [
        ("matched", matched(6), splits, ("none", "kd", "ntkd-paper", "ntkd")),
        ("readout", readouts(), splits, ("linear", "relu", "random PSFs", "lenses")),
        ("10k", matched(20), few, ("none", "kd", "ntkd-paper", "ntkd", "residual")),
    ]
    for part, arms, images, names in parts:
        for name in names:
            chosen = tuned(cells, f"{part}/{name}", arms[name], RATES, images, work, teacher=teacher)
            scores(cells, f"{part}/{name}", chosen, range(seeds), images, work, teacher=teacher)
