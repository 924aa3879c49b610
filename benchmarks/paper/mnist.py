"""MNIST: the rows of Table 3 of arXiv 2508.08421 at a matched budget, at full size, and with few labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from photonet import data
from photonet.data import Splits
from photonet.distill import KD, CrossEntropy, KernelResidual, Moved, TrainConfig
from photonet.models import compressed_meta, ideal_lenses, lenet, random_psfs, spectral_4f

from .arms import Arm, scores, train_teacher, tuned
from .cells import Cells

RATES = (5e-3, 1e-2, 2e-2)
RESIDUAL = (CrossEntropy(0.1), KernelResidual(5.0))
"""What the search found in place of KD."""

SOFT = (CrossEntropy(0.1), KD(0.9, temperature=8.0))


def fixed(student: Callable[[], nn.Module], baseline: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    """The student with an untrained frontend, drawn with the seed of the run where it is drawn."""

    def build() -> nn.Module:
        if baseline is ideal_lenses:
            return baseline(student())
        return baseline(student(), torch.Generator().manual_seed(torch.initial_seed()))

    return build


def matched() -> dict[str, Arm]:
    """10,000 images, 10 epochs: what differs is the loss, or the optics."""
    config = TrainConfig(epochs=10)
    arms = {
        "ce": Arm(compressed_meta, "compressed_meta", "ce", config),
        "kd": Arm(compressed_meta, "compressed_meta", "kd", config),
        "features": Arm(compressed_meta, "compressed_meta", "features", config),
        "ntkd-paper": Arm(compressed_meta, "compressed_meta", "ntkd-paper", config),
        "ntkd": Arm(compressed_meta, "compressed_meta", "ntkd", config),
    }
    arms["residual"] = Arm(compressed_meta, "compressed_meta", RESIDUAL, config)
    for name in ("ce", "kd", "ntkd", "residual"):
        arms[f"{name}, views"] = replace(arms[name], views=Moved())
    arms["linear 4f, kd"] = Arm(spectral_4f, "spectral_4f", "kd", config)
    for name, baseline in {"random PSFs": random_psfs, "lenses": ideal_lenses}.items():
        arms[f"{name}, kd"] = Arm(fixed(compressed_meta, baseline), f"compressed_meta, {name}", "kd", config)
    return arms


def few_labels() -> dict[str, Arm]:
    """1,000 labels, 2,100 steps each: what else the teacher is asked about."""
    config = TrainConfig(epochs=30, weight_decay=0.3)
    student = {"student": compressed_meta, "design": "compressed_meta"}
    return {
        "ce": Arm(**student, method="ce", config=config),
        "kd": Arm(**student, method=SOFT, config=config),
        "kd, views": Arm(**student, method=SOFT, config=config, views=Moved()),
        "kd, unlabelled": Arm(**student, method=SOFT, config=config, unlabelled=True),
        "kd, views, unlabelled": Arm(**student, method=SOFT, config=config, views=Moved(), unlabelled=True),
    }


@dataclass(frozen=True)
class Bench:
    """What the parts of the table share."""

    cells: Cells
    splits: Splits
    teacher: tuple[nn.Module, str]
    seeds: int
    work: Path

    def first(self, count: int) -> Splits:
        """The same validation and test images, fewer to train on."""
        return Splits(self.splits.train.subset(slice(count)), self.splits.val, self.splits.test)

    def chosen(self, name: str) -> Arm:
        """An arm of `matched` with its rate."""
        ten = self.first(10_000)
        return tuned(self.cells, f"10k/{name}", matched()[name], RATES, ten, self.work, teacher=self.teacher)


def bench(folder: str | None, seeds: int, out: Path, work: Path) -> Bench:
    """The data, and a teacher that was trained on all of it."""
    cells, splits = Cells(out / "mnist.json"), data.mnist(folder)
    whole = Arm(lenet, "lenet", "ce", TrainConfig(epochs=10, batch_size=64), views=Moved())
    return Bench(cells, splits, train_teacher(cells, "teacher", lenet, whole, splits, work), seeds, work)


def run_few_labels(b: Bench) -> None:
    """1,000 labels."""
    labelled, more = torch.arange(1_000), b.splits.train.images[1_000:9_000]
    for name, arm in few_labels().items():
        # every epoch has 9,000 pictures: the labelled and 8,000 others, or nine times the labelled
        train = b.splits.train.subset(labelled if arm.unlabelled else labelled.repeat(9))
        few = Splits(train, b.splits.val, b.splits.test)
        chosen = tuned(b.cells, f"1k/{name}", arm, RATES, few, b.work, teacher=b.teacher, more=more)
        scores(b.cells, f"1k/{name}", chosen, range(b.seeds), few, b.work, teacher=b.teacher, more=more)


def run_matched(b: Bench) -> None:
    """10,000 images."""
    for name in matched():
        arm = b.chosen(name)
        scores(b.cells, f"10k/{name}", arm, range(b.seeds), b.first(10_000), b.work, teacher=b.teacher)


def run_full(b: Bench, names: Sequence[str] = ("kd, views", "ce")) -> None:
    """All images, with rates chosen on them: what suits 10,000 images can be too large here."""
    for name in names:
        for epochs in (20, 60):
            arm = matched()[name]
            longer = replace(arm, config=replace(arm.config, epochs=epochs))
            key = f"60k/{name}" if epochs == 20 else f"60k/{name}, {epochs} epochs"
            chosen = tuned(b.cells, key, longer, RATES, b.splits, b.work, teacher=b.teacher)
            scores(b.cells, key, chosen, range(b.seeds), b.splits, b.work, teacher=b.teacher)


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    b = bench(folder, seeds, out, work)
    for part in (run_full, run_matched, run_few_labels):
        part(b)
