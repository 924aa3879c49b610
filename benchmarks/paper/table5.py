"""Table 5 of arXiv 2508.08421: how many random PSFs are worth what, and the limit of infinitely many.

One convolution with random kernels 7 x 7, binning 4 x 4, a ReLU and one dense layer, which alone is trained.
The paper says "one conv + one FC"; without the ReLU the scores would be linear in the scene whatever the
number of kernels. The limit is regression with the closed form `photonet.ntk.infinite_gram`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photonet import data, ntk
from photonet.data import Splits
from photonet.distill import TrainConfig
from photonet.models import random_psfs
from photonet.nn import HybridNetwork, OpticalConv2d

from . import table5_pixels
from .arms import Arm, scores, tuned
from .cells import Cells
from .ridge import kernel_ridge
from .search_wider import smaller

KERNELS = (8, 64, 500, 1000)
IMAGES = 20_000
"""Or features of scenes: what a limit of infinitely many kernels, 20,000 equations, can use too."""
SIZE, BINNING, CLASSES = 7, 4, 10
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
STRENGTHS = tuple(10.0**k for k in range(-5, 0))
BLOCK = 1000


def _student(kernels: int, colours: int, side: int) -> nn.Module:
    frontend = OpticalConv2d(colours, kernels, SIZE, binning=BINNING)
    dense = nn.Linear(kernels * (side // BINNING) ** 2, CLASSES)
    student = HybridNetwork(frontend, nn.Sequential(nn.ReLU(), nn.Flatten(), dense))
    # seeded anew, as the backend's weights have used up a number of draws that depends on the kernels
    return random_psfs(student, torch.Generator().manual_seed(torch.initial_seed()))


def limit(splits: Splits, strengths: Sequence[float]) -> dict[str, Any]:
    """Accuracies of kernel regression with infinitely many kernels, one for each strength of the ridge."""
    kernel = partial(
        ntk.infinite_gram, kernel=SIZE, pool=BINNING, rectified=True, hidden=0, frontend="frozen"
    )
    train = splits.train.images
    targets = nn.functional.one_hot(splits.train.labels, CLASSES).double() - 1 / CLASSES
    gram = torch.empty(len(train), len(train), dtype=torch.float64)
    for start in range(0, len(train), BLOCK):
        stop = start + BLOCK
        gram[start:stop, :stop] = rows = kernel(train[start:stop], train[:stop])[1]
        gram[:stop, start:stop] = rows.mT
    weights = kernel_ridge(gram, targets, strengths).flatten(1)
    del gram
    found = {}
    for name, part in {"val": splits.val, "test": splits.test}.items():
        said = torch.cat([kernel(x, train)[1].double() @ weights for x in part.images.split(BLOCK)])
        right = said.unflatten(1, (len(strengths), CLASSES)).argmax(dim=2) == part.labels[:, None]
        found[name] = right.double().mean(dim=0).tolist()
    best = max(range(len(strengths)), key=lambda k: found["val"][k])
    return {"test": found["test"][best], "val": found["val"], "strength": strengths[best]}


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells = Cells(out / "table5.json")
    for name, splits in {"mnist": data.mnist(folder), "cifar10": data.cifar10(folder)}.items():
        few = Splits(splits.train.subset(slice(IMAGES)), splits.val, splits.test)
        _, colours, _, side = few.train.pixels.shape
        for kernels in KERNELS:
            layer = f"OpticalConv2d({colours}, {kernels}, {SIZE}, binning={BINNING})"
            design = f"{layer}, random PSFs, relu, dense"
            build = partial(_student, kernels, colours, side)
            arm = Arm(build, design, "ce", TrainConfig(epochs=10))
            # a wider layer wants a smaller rate
            arm = tuned(cells, f"{name}/{kernels}", arm, RATES, few, work)
            scores(cells, f"{name}/{kernels}", arm, range(seeds if name == "mnist" else 3), few, work)
        settings = {"images": IMAGES, "strengths": STRENGTHS, "kernel": SIZE, "binning": BINNING}
        cells.get(f"{name}/infinite", settings, partial(limit, few, STRENGTHS))
    _on_pixels(cells, Splits(*(smaller(images) for images in data.camvid(folder))))


def _on_pixels(cells: Cells, splits: Splits) -> None:
    """Cars in scenes of a third of their size."""
    settings = {"samples": IMAGES, "size": SIZE, "binning": BINNING, "strengths": STRENGTHS}
    for kernels in KERNELS:
        for seed in range(3):
            ask = partial(table5_pixels.regression, splits, kernels, seed, **settings)
            cells.get(f"camvid/{kernels}/{seed}", {**settings, "kernels": kernels, "seed": seed}, ask)
    cells.get("camvid/infinite", settings, partial(table5_pixels.limit, splits, **settings))
