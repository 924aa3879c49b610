"""CamVid, cars against the rest: the segmentation rows of Tables 3 and 4 of arXiv 2508.08421."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from photonet import data
from photonet.data import Images, Splits, against_rest
from photonet.distill import Moved, TrainConfig
from photonet.models import polychromatic_segmentation, unet

from .arms import Arm, scores, train_teacher, tuned
from .cells import Cells

RATES = (2e-3, 5e-3)
ROWS = 176
"""Of 180: a multiple of 16, so that every scale has whole pixels."""


@dataclass(frozen=True)
class Driven:
    """Views of a road: moved, and every other one in a mirror."""

    moved: Moved = field(default_factory=lambda: Moved(rotation=0.05, scale=0.25, shift=16.0))

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Other views of the scenes."""
        x, _ = self.with_labels(x, torch.zeros(len(x), *x.shape[2:], dtype=torch.int64), generator)
        return x

    def with_labels(
        self, x: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Other views of the scenes and of their labels."""
        x, labels = self.moved.with_labels(x, labels, generator)
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        x[mirrored], labels[mirrored] = x[mirrored].flip(-1), labels[mirrored].flip(-1)
        return x, labels


def cars(folder: str | None) -> Splits:
    """All scenes, 176 x 240."""

    def task(images: Images) -> Images:
        upper = replace(images, pixels=images.pixels[..., :ROWS, :], labels=images.labels[..., :ROWS, :])
        return against_rest(upper, "car")

    return Splits(*(task(images) for images in data.camvid(folder)))


def teacher() -> nn.Module:
    """Sees every pixel."""
    return unet()


def student(readout: str = "relu") -> nn.Module:
    """Sees 56 optical kernels."""
    return polychromatic_segmentation(width=160, readout=readout)


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells, splits = Cells(out / "camvid.json"), cars(folder)
    config = TrainConfig(epochs=24, batch_size=8)
    whole = Arm(teacher, "unet", "ce", replace(config, lr=3e-3), views=Driven(), bfloat16=True)
    taught = train_teacher(cells, "unet", teacher, whole, splits, work)
    arm = Arm(student, "polychromatic_segmentation(width=160)", "ce", config, Driven(), bfloat16=True)
    chosen = tuned(cells, "labels", arm, RATES, splits, work)
    scores(cells, "labels", chosen, range(seeds), splits, work)
    for method in ("kd", "ntkd", "ntkd-paper"):  # 10 and over 60 minutes of one core a run
        scores(cells, method, replace(chosen, method=method), range(seeds), splits, work, teacher=taught)
    pooled = replace(
        chosen,
        student=partial(student, "maxpool"),
        design="polychromatic_segmentation(width=160, readout=maxpool)",
    )
    scores(cells, "labels, maxpool", pooled, range(seeds), splits, work)
