"""Table 5 of arXiv 2508.08421 on pixels: random PSFs and one up-convolution, which alone is trained.

An up-convolution of 4 x 4 pixels with stride 4 reads every feature on its own, so features are the samples
of a ridge regression with one answer for each of the 16 pixels. The limit of infinitely many kernels is the
same regression with the closed form of what a feature sees. Few pixels are of a car, and where little is
known about them none is more likely one than not: strength and threshold are chosen on validation scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photonet import ntk
from photonet.data import Images, Splits
from photonet.distill import mean_iou
from photonet.distill.samples import known
from photonet.models import random_psfs
from photonet.nn import HybridNetwork, OpticalConv2d

from .ridge import kernel_ridge

__all__ = ["best_threshold", "limit", "regression", "seen_by"]

SCENES = 8
"""At a time."""

Answer = Callable[[Tensor], Tensor]
"""Scenes [n, c, y, x] to scores [n, features, strengths, pixels of a feature]."""


def _read_by(features: Tensor, size: int) -> Tensor:
    """Labels [n, y, x] of the pixels of every feature, [n, features, size^2]."""
    rows = features.unfold(1, size, size).unfold(2, size, size)
    return rows.flatten(3).flatten(1, 2)


def seen_by(scenes: Tensor, size: int, binning: int) -> Tensor:
    """What every feature sees of the scenes, [n, features, c, size + binning - 1, size + binning - 1]."""
    width, padded = size + binning - 1, F.pad(scenes, (size // 2,) * 4)
    windows = padded.unfold(2, width, binning).unfold(3, width, binning)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def _chosen(images: Images, count: int, binning: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scene and feature of ``count`` random samples whose pixels all have labels, and those as +-1 / 2."""
    labels = _read_by(images.labels, binning)
    scene, feature = known(labels).all(dim=2).nonzero(as_tuple=True)
    order = torch.randperm(len(scene), generator=torch.Generator().manual_seed(0))[:count]
    scene, feature = scene[order], feature[order]
    return scene, feature, labels[scene, feature].double() - 0.5


def _all(images: Images, look: Callable[[Tensor], Tensor]) -> Tensor:
    """``look(scenes)`` of all scenes, a few at a time."""
    parts = range(0, len(images), SCENES)
    return torch.cat([look(images.subset(slice(k, k + SCENES)).images) for k in parts])


def best_threshold(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """Largest mean intersection over union of both classes, and the score from which pixels are of a car."""
    scores, labels = scores[known(labels)], labels[known(labels)]
    order = scores.argsort(descending=True)
    hits = labels[order].cumsum(0).double()  # of the first 1, 2, ... pixels
    said = torch.arange(1, len(hits) + 1).double()
    cars, pixels = hits[-1], said[-1]
    missed, wrong = cars - hits, said - hits
    both = (hits / (cars + wrong) + (pixels - cars - wrong) / (pixels - cars + missed)) / 2
    best = both.argmax()
    return float(both[best]), float(scores[order[best]])


def _judged(answer: Answer, splits: Splits, strengths: tuple[float, ...], binning: int) -> dict[str, Any]:
    """Mean intersection over union on test, with strength and threshold of the validation scenes."""

    def said(images: Images) -> tuple[Tensor, Tensor]:
        return _all(images, answer).movedim(2, 0), _read_by(images.labels, binning)

    scores, labels = said(splits.val)
    found, thresholds = zip(*(best_threshold(s.flatten(), labels.flatten()) for s in scores), strict=True)
    best = max(range(len(strengths)), key=lambda k: found[k])
    scores, labels = said(splits.test)
    above = scores[best] - thresholds[best]
    test = mean_iou(torch.stack([-above, above], dim=2).flatten(0, 1), labels.flatten(0, 1))
    return {"test": test, "val": found, "strength": strengths[best], "threshold": thresholds[best]}


def regression(
    splits: Splits,
    kernels: int,
    seed: int,
    *,
    samples: int,
    size: int,
    binning: int,
    strengths: tuple[float, ...],
) -> dict[str, Any]:
    """With so many random kernels, side ``size``, read in bins; ``strengths`` of the ridge to choose from."""
    layer = OpticalConv2d(splits.train.pixels.shape[1], kernels, size, binning=binning)
    random_psfs(HybridNetwork(layer, torch.nn.ReLU()), torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def features(scenes: Tensor) -> Tensor:
        return layer(scenes).relu().flatten(2).mT

    scene, feature, targets = _chosen(splits.train, samples, binning)
    rows = _all(splits.train, features)[scene, feature].double()
    square, right = rows.mT @ rows, rows.mT @ targets
    mean = float(square.diagonal().mean())
    ridge = torch.stack([square + s * mean * torch.eye(kernels).double() for s in strengths])
    weights = torch.linalg.solve(ridge, right).float()  # [strengths, kernels, pixels]
    return _judged(lambda x: torch.einsum("nfk,skp->nfsp", features(x), weights), splits, strengths, binning)


def limit(
    splits: Splits, *, samples: int, size: int, binning: int, strengths: tuple[float, ...]
) -> dict[str, Any]:
    """With infinitely many kernels; arguments as in `regression`."""

    def kernel(x: Tensor, x2: Tensor | None = None) -> Tensor:
        return ntk.infinite_gram(
            x, x2, kernel=size, padding=0, pool=binning, rectified=True, hidden=0, frontend="frozen"
        )[0]

    def look(scenes: Tensor) -> Tensor:
        return seen_by(scenes, size, binning)

    scene, feature, targets = _chosen(splits.train, samples, binning)
    # patches of the sky are nearly alike, which single precision cannot tell from equal
    train = _all(splits.train, look)[scene, feature].double()
    weights = kernel_ridge(kernel(train), targets, strengths).flatten(1)

    def answer(scenes: Tensor) -> Tensor:
        scores = kernel(look(scenes).flatten(0, 1).double(), train) @ weights
        return scores.reshape(len(scenes), -1, len(strengths), binning**2)

    return _judged(answer, splits, strengths, binning)
