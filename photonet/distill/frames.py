"""The frames that `correct` learns from, checked against the network before anything is computed."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from .. import checks
from ..arrays import UNLABELLED, as_pictures
from ..errors import GridMismatch, InvalidArgument
from ..measured.features import Measured
from ..measured.order import out_of_step
from ..nn import HybridNetwork
from .chain import needs_of
from .inputs import check_classes
from .samples import labelled_samples, predict

__all__ = ["FEWEST", "check_needs", "check_order", "clean_scenes", "for_student", "usable_frames"]

TINY = 1e-3
"""By which clean scenes may leave the range of measured ones: rounding, not another unit."""

FEWEST = 6
"""Measured frames without which nothing can be held out."""


def for_student(student: HybridNetwork, measured: Measured) -> Measured:
    """The frames in the student's precision, and on its device.

    Raises:
        InvalidArgument: other types.

    Example:
        >>> from photonet.models import compressed_meta
        >>> measured = Measured(torch.rand(9, 1, 28, 28).double(), torch.rand(9, 8, 7, 7).double())
        >>> for_student(compressed_meta(), measured).features.dtype
        torch.float32
    """
    if not isinstance(student, HybridNetwork):
        raise InvalidArgument("student", "a HybridNetwork: a frontend and a backend", type(student).__name__)
    if not isinstance(measured, Measured):
        raise InvalidArgument(
            "measured", "Measured scenes and feature maps", type(measured).__name__,
            "Measured.from_file reads a file",
        )  # fmt: skip
    return measured.to(student)


def usable_frames(student: HybridNetwork, measured: Measured, fraction: float, seed: int) -> Measured:
    """A random fraction of the frames; without labels if none of them has one.

    Raises:
        InvalidArgument: too few frames, or labels that the student cannot give.
        GridMismatch: feature maps of another shape than its frontend's.

    Example:
        >>> from photonet.models import compressed_meta
        >>> measured = Measured(torch.rand(20, 1, 28, 28), torch.rand(20, 8, 7, 7), torch.full((20,), -100))
        >>> usable_frames(compressed_meta(), measured, fraction=0.5, seed=0)
        <Measured scenes (10, 1, 28, 28), features (10, 8, 7, 7), without labels>
    """
    checks.fraction("fraction", fraction)
    generator = torch.Generator().manual_seed(checks.count("seed", seed, least=0))
    order = torch.randperm(len(measured), generator=generator).to(measured.scenes.device)
    used = measured[order[: round(fraction * len(measured))]]
    if len(used) < FEWEST:
        raise InvalidArgument(
            "fraction", f"at least {FEWEST} of the {len(measured)} measured frames", f"{len(used)} of them"
        )
    network = copy.deepcopy(student).eval()
    with torch.no_grad():
        maps = network.features(used.scenes[:1])
    if not isinstance(maps, torch.Tensor) or maps.ndim != 4:
        got = f"{maps.ndim} axes" if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise InvalidArgument("student", "a frontend that gives one tensor of maps [n, k, y, x]", got)
    if used.features.shape[1:] != maps.shape[1:]:
        expected = f"features [n, k, y, x] of {tuple(maps.shape[1:])}, as the student's"
        raise GridMismatch("measured", expected, tuple(used.features.shape[1:]))
    if used.labels is None or not bool((used.labels != UNLABELLED).any()):
        return Measured(used.scenes, used.features)
    check_classes("labels", used.labels, predict(network.backend, maps).shape)
    return used


def check_order(student: HybridNetwork, measured: Measured) -> None:
    """Refuse frames that belong to other scenes than they are said to.

    Raises:
        InvalidArgument: they fit their neighbours' scenes better, which no correction can mend.
    """
    found = out_of_step(partial(predict, student.frontend), measured.scenes, measured.features)
    if found is not None:
        first, lag = found
        raise InvalidArgument(
            "measured", "frames in the order of their scenes",
            f"frames about number {first} that fit scenes {abs(lag)} {'later' if lag > 0 else 'earlier'}",
            "a trigger was missed" if lag > 0 else "a frame is too many",
        )  # fmt: skip


def check_needs(names: Iterable[str], frames: Measured, teacher: nn.Module | None) -> None:
    """Refuse frames without the labels, or a missing teacher, that one of these candidates learns from.

    Raises:
        InvalidArgument: fewer than six labels where they are used, or no teacher.
    """
    wanted = set().union(*map(needs_of, names))
    known = 0 if frames.labels is None else int(labelled_samples(frames.labels).sum())
    if "labels" in wanted and known < FEWEST:
        raise InvalidArgument(
            "measured", f"labels of {FEWEST} or more frames, which this method uses",
            f"labels of {known} frames", "use method='auto'",
        )  # fmt: skip
    if teacher is None and wanted - {"labels"}:
        raise InvalidArgument("teacher", "a torch module for this method", None, "use method='auto'")


def clean_scenes(scenes: Any, frames: Measured) -> torch.Tensor:
    """Scenes that were not measured, like those that were.

    Raises:
        GridMismatch: another size or number of colours.
        InvalidArgument: not numbers, not finite, or of another range.
    """
    clean = as_pictures("scenes", scenes)
    if not len(clean):
        raise InvalidArgument("scenes", "some thousands of clean scenes, or None", "none")
    if clean.shape[1:] != frames.scenes.shape[1:]:
        expected = f"scenes [m, c, y, x] of {tuple(frames.scenes.shape[1:])}, as the measured ones"
        raise GridMismatch("scenes", expected, tuple(clean.shape[1:]))
    low, high = (float(value) for value in frames.scenes.aminmax())
    if low >= 0 and high <= 1 and not (clean.min() >= -TINY and clean.max() <= 1 + TINY):
        got = f"from {clean.min():.3g} to {clean.max():.3g}"
        raise InvalidArgument("scenes", "values in [0, 1], as of the measured scenes", got)
    return clean.to(frames.scenes)
