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


def labels_alone(epochs: int, **options: Any) -> Arm:
    """No teacher."""
    config = TrainConfig(epochs=epochs, batch_size=125, lr=2e-3)
    return Arm(**student(**options), method=LABELS, views=cropped, config=config, bfloat16=True)


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells, splits = Cells(out / "cifar10.json"), data.cifar10(folder)
    scores(cells, "labels, 1.6 M", labels_alone(16), range(seeds), splits, work)
    scores(cells, "labels, 0.15 M", labels_alone(16, hidden=(72, 64)), range(seeds), splits, work)
