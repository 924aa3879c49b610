"""CIFAR-10 (JPEG): the CIFAR rows of Table 3 of arXiv 2508.08421 and what the readout makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from photonet import data
from photonet.data import cropped
from photonet.distill import CrossEntropy, TrainConfig
from photonet.models import polychromatic_meta

from .arms import Arm, scores
from .cells import Cells

LABELS = (CrossEntropy(smoothing=0.1),)


def student(**options: Any) -> dict[str, Any]:
    """The student with these options, and the options in words."""
    words = ", ".join(f"{key}={value}" for key, value in options.items())
    return {"student": lambda: polychromatic_meta(**options), "design": f"polychromatic_meta({words})"}


def record(epochs: int) -> Arm:
    """The whole budget of 1.62 M, labels alone."""
    return Arm(
        **student(),
        method=LABELS,
        views=cropped,
        config=TrainConfig(epochs=epochs, batch_size=250),
        bfloat16=True,
    )


def run(folder: str | None, seeds: int, out: Path, work: Path) -> Cells:
    """Train what is missing."""
    cells = Cells(out / "cifar10.json")
    splits = data.cifar10(folder)
    scores(cells, "labels, 1.6 M", record(16), range(seeds), splits, work)
    return cells
