"""Table 5 of arXiv 2508.08421: how many random PSFs are worth what, and the limit of infinitely many.

Random kernels 7 x 7, binning 4 x 4 and a backend of one hidden ReLU layer, nothing of the optics trained.
Finite numbers are trained; the limit is regression with the closed form `photonet.ntk.infinite_gram`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photonet import data, ntk
from photonet.data import Splits
from photonet.distill import TrainConfig
from photonet.models import compressed_meta, random_psfs

from .arms import Arm, scores, tuned
from .cells import Cells

KERNELS = (8, 64, 500, 1000)
IMAGES = 5_000
STRENGTHS = tuple(10.0**k for k in range(-6, 1))


def _student(kernels: int) -> nn.Module:
    student = compressed_meta(kernels)
    # seeded anew, as the backend's weights have used up a number of draws that depends on the kernels
    return random_psfs(student, torch.Generator().manual_seed(torch.initial_seed()))


def limit(splits: Splits, strength: float) -> dict[str, Any]:
    """Accuracies of kernel regression with infinitely many kernels and an infinitely wide hidden layer."""
    tangent = partial(ntk.infinite_gram, kernel=7, pool=4, hidden=1, frontend="frozen")
    train = splits.train.images
    targets = nn.functional.one_hot(splits.train.labels, 10).double() - 0.1
    gram = tangent(train)[1].double()
    gram.diagonal().add_(strength * gram.diagonal().mean())
    factor = torch.linalg.cholesky(gram)
    weights = torch.cholesky_solve(targets, factor).float()
    found = {}
    for name, part in {"val": splits.val, "test": splits.test}.items():
        answers = [tangent(x, train)[1] @ weights for x in part.images.split(1000)]
        right = torch.cat(answers).argmax(dim=1) == part.labels
        found[name] = float(right.double().mean())
    return found


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    cells = Cells(out / "table5.json")
    splits = data.mnist(folder)
    few = Splits(splits.train.subset(slice(IMAGES)), splits.val, splits.test)
    for kernels in KERNELS:
        arm = Arm(
            partial(_student, kernels),
            f"compressed_meta({kernels}), random PSFs",
            "ce",
            TrainConfig(epochs=10),
        )
        # a wider layer wants a smaller rate
        arm = tuned(cells, f"{kernels}", arm, (1e-3, 3e-3, 1e-2), few, work)
        scores(cells, f"{kernels}", arm, range(seeds), few, work)
    for strength in STRENGTHS:
        settings = {"images": IMAGES, "strength": strength}
        cells.get(f"infinite/{strength:g}", settings, lambda s=strength: limit(few, s))
