"""Which candidate to keep: paired losses on frames that it was not made from, and one standard error."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from ..arrays import UNLABELLED
from .losses import divergence
from .samples import labelled_samples

__all__ = ["folds", "frame_divergence", "simplest", "unlikelihood"]

FOLDS = 4
ENOUGH = 100
"""Frames to judge on: beyond, a further round costs more than its answer is worth."""

TEMPERATURE = 8.0
"""Of answers distilled or compared in correction; unsoftened, a few sure mistakes decide the mean."""


def folds(n: int, judges: torch.Tensor | None = None) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Quarters that are held out in turn, (others, held out), until a hundred frames have judged.

    Args:
        n: frames.
        judges: [n], those that can judge (which have a label, where labels decide); each quarter has its
            share of them. All if None.

    Example:
        >>> [len(held) for _, held in folds(40)], [len(held) for _, held in folds(1000)]
        ([10, 10, 10, 10], [250])
        >>> [held.tolist() for _, held in folds(6, torch.tensor([1, 0, 0, 1, 0, 0]) > 0)]
        [[0, 1], [2, 3]]
    """
    judges = torch.ones(n, dtype=torch.bool) if judges is None else judges.cpu()
    # counted among those that can judge, and among the others
    part = torch.where(judges, judges.cumsum(0) - 1, (~judges).cumsum(0) - 1) % FOLDS
    rounds, judged = [], 0
    for index in range(FOLDS):
        held = part == index
        able = int((held & judges).sum())
        if judged >= ENOUGH or not able:
            break
        rounds.append(((~held).nonzero()[:, 0], held.nonzero()[:, 0]))
        judged += able
    return rounds


def frame_divergence(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Divergence from the wanted softened answers, [n]; the mean over pixels where outputs are dense."""
    lost = divergence(logits, wanted, TEMPERATURE)
    return lost.flatten(1).mean(dim=1) if lost.ndim > 1 else lost


def unlikelihood(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy to the labels, of the frames that have one; pixels without a label count as 0."""
    lost = F.cross_entropy(logits, labels, reduction="none", ignore_index=UNLABELLED)
    return (lost.flatten(1).mean(dim=1) if lost.ndim > 1 else lost)[labelled_samples(labels)]


def simplest(losses: Mapping[str, torch.Tensor]) -> str:
    """The first candidate that is not worse than the best by more than one standard error.

    The rule of one standard error (Breiman et al., Classification and Regression Trees, section 3.4.3), of
    the paired differences: what both find hard in a frame cancels.

    Args:
        losses: [n] of each candidate on the same frames, the simplest candidate first.

    Example:
        >>> noisy = torch.tensor([1.0, 3.0, 2.0, 4.0])
        >>> simplest({"none": noisy, "lucky": noisy - torch.tensor([0.5, -0.4, 0.5, -0.4])})
        'none'
        >>> simplest({"none": noisy, "better": noisy - torch.tensor([0.5, 0.4, 0.5, 0.4])})
        'better'
    """
    best = min(losses, key=lambda name: float(losses[name].mean()))
    for name, loss in losses.items():
        worse = (loss - losses[best]).double()
        if name == best or float(worse.mean()) <= float(worse.std()) / len(worse) ** 0.5:
            return name
    return best
