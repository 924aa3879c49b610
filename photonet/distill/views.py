"""Off the sample: other views of the training pictures, about which the teacher is asked too."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F

from .. import checks
from ..arrays import UNLABELLED
from ..data.augment import random_moves
from ..errors import InvalidArgument
from ..ntk.directions import source

__all__ = ["LabelledViews", "Mixed", "Moved", "Views", "describe", "seen_through", "views_of"]

Views = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Inputs [b, ...] and a generator to other views of them, of the same shape and class."""

SMALLEST_PICTURE = 16
"""Pixels along an axis, below which moving a picture by two of them is not gentle."""

NEARLY_KNOWN = 1e-3
"""Part of a number that may come from where nothing is known: rounding."""


@runtime_checkable
class LabelledViews(Protocol):
    """Views that change what the label is, because its pixels move or because it does not hold any more."""

    def with_labels(
        self, x: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of the inputs [b, ...], and their labels; `photonet.data.UNLABELLED` where none is known."""
        ...


@dataclass(frozen=True)
class Moved:
    """Gently rotated, zoomed and displaced pictures: the default views of ``method="ntkd"``.

    Every view is drawn uniformly within the limits, by bilinear interpolation with darkness outside. Labels
    of pixels move along, to the nearest pixel, and maps of numbers as pictures do; outside nothing is known.

    Args:
        rotation: largest angle in rad, either way.
        scale: largest relative change of size, either way.
        shift: largest displacement along each axis in pixels, either way.

    Raises:
        InvalidArgument: a negative limit, or inputs that are not pictures [b, c, y, x].

    Example:
        >>> views = Moved(rotation=0.1)
        >>> views(torch.rand(5, 1, 28, 28), torch.Generator().manual_seed(0)).shape
        torch.Size([5, 1, 28, 28])
    """

    rotation: float = 0.25
    scale: float = 0.2
    shift: float = 2.0

    def __post_init__(self) -> None:
        checks.non_negative("rotation", self.rotation)
        checks.fraction("scale", self.scale)
        checks.non_negative("shift", self.shift)

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Other views of the pictures."""
        return _warp(x, self._moves(x, generator), "bilinear")

    def with_labels(
        self, x: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Other views of the pictures, and the labels of what is seen there.

        Maps of classes [b, v, u] move along, and those of numbers on the pixels of the picture, [b, y, x] or
        [b, c, y, x]; others are kept.
        """
        moves = self._moves(x, generator)
        if labels.is_floating_point() and labels.ndim in (3, 4) and labels.shape[-2:] == x.shape[-2:]:
            maps = labels if labels.ndim == 4 else labels[:, None]
            unknown = 1 - _warp((~maps.isnan()).to(maps), moves, "bilinear")
            moved = _warp(maps.nan_to_num(0.0), moves, "bilinear")
            labels = moved.masked_fill(unknown > NEARLY_KNOWN, math.nan).reshape(labels.shape)
        elif labels.ndim == 3 and not labels.is_floating_point():
            # 0 stands for darkness, so that what comes from outside can be told from class 0
            seen = _warp((labels + 1 - UNLABELLED)[:, None].double(), moves, "nearest")[:, 0].long()
            labels = torch.where(seen > 0, seen - 1 + UNLABELLED, UNLABELLED)
        return _warp(x, moves, "bilinear"), labels

    def _moves(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if x.ndim != 4:
            raise InvalidArgument("views", "pictures [b, c, y, x] to move", f"inputs {tuple(x.shape)}")
        source(generator, "views")
        size = (x.shape[2], x.shape[3])
        return random_moves(
            len(x), size, generator, rotation=self.rotation, scale=self.scale, shift=self.shift
        )


@dataclass(frozen=True)
class Mixed:
    """Weighted means of two inputs, for data that cannot be moved (mix-up, arXiv 1710.09412).

    What a mean shows has no label; only the teacher says what it makes of it.

    Args:
        share: part of a batch that is mixed.

    Raises:
        InvalidArgument: a share outside [0, 1], or inputs of whole numbers, which have no means.

    Example:
        >>> x, labels = torch.rand(4, 3), torch.arange(4)
        >>> Mixed(0.5).with_labels(x, labels, torch.Generator().manual_seed(0))[1].tolist()
        [-100, -100, 2, 3]
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        checks.fraction("share", self.share)

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The inputs, the first of them mixed with others of the batch."""
        if x.dtype == torch.int64:
            raise InvalidArgument("views", "inputs that can be mixed", "whole numbers")
        source(generator, "views")
        count = round(self.share * len(x))
        partner = torch.randperm(len(x), generator=generator)[:count].to(x.device)
        part = torch.rand(count, generator=generator).to(x).reshape(-1, *[1] * (x.ndim - 1))
        return torch.cat([torch.lerp(x[:count], x[partner], part), x[count:]])

    def with_labels(
        self, x: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The inputs with some of them mixed, whose label is not known any more."""
        labels = labels.clone()
        labels[: round(self.share * len(x))] = math.nan if labels.is_floating_point() else UNLABELLED
        return self(x, generator), labels


def views_of(
    views: Views | str | None, method: str, inputs: torch.Tensor, labels: torch.Tensor
) -> Views | None:
    """What an argument ``views=`` means.

    ``"auto"`` is `Moved` where the method is ``ntkd``, the inputs are pictures of 16 x 16 pixels or more and
    the labels are classes, which a small displacement keeps; no views elsewhere.

    Raises:
        UnknownName: another word.
        InvalidArgument: neither a word nor a function.

    Example:
        >>> views_of("auto", "ntkd", torch.rand(2, 1, 28, 28), torch.tensor([3, 4]))
        Moved(rotation=0.25, scale=0.2, shift=2.0)
        >>> views_of("auto", "kd", torch.rand(2, 1, 28, 28), torch.tensor([3, 4])) is None
        True
    """
    if views is not None and not isinstance(views, (str, LabelledViews)) and not callable(views):
        raise InvalidArgument(
            "views", "a function of inputs and a generator, 'auto' or None", repr(views)[:80]
        )
    if not isinstance(views, str):
        return views
    checks.choice("views", views, ["auto"])
    pictures = inputs.is_floating_point() and inputs.ndim == 4 and min(inputs.shape[2:]) >= SMALLEST_PICTURE
    return Moved() if method == "ntkd" and pictures and not labels.is_floating_point() else None


def seen_through(
    views: Views | None, x: torch.Tensor, labels: torch.Tensor | None, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A batch through its views; the inputs themselves (the same tensor) without any.

    Raises:
        InvalidArgument: views that are not one for each input.
    """
    if views is None:
        return x, labels
    if labels is not None and isinstance(views, LabelledViews):
        seen, labels = views.with_labels(x, labels, generator)
    else:
        seen = views(x, generator)
    if not isinstance(seen, torch.Tensor) or seen.shape[:1] != x.shape[:1]:
        got = f"shape {tuple(seen.shape)}" if isinstance(seen, torch.Tensor) else type(seen).__name__
        raise InvalidArgument("views", f"a function to {len(x)} views of {len(x)} inputs", got)
    return seen, labels


def describe(function: Callable[..., Any] | None) -> str:
    """A line that changes with what a function does, for the hash of a run.

    A function is told by its name, its code and its defaults (not by what its closure refers to), any
    other object by its ``repr``.

    Example:
        >>> describe(Moved()), describe(lambda x: x + 1) == describe(lambda x: x + 2)
        ('Moved(rotation=0.25, scale=0.2, shift=2.0)', False)
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return re.sub(r" at 0x[0-9a-f]+", "", repr(function))
    text = f"{_instructions(code)} {getattr(function, '__defaults__', None)}"
    name = getattr(function, "__qualname__", "function")
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _instructions(code: CodeType) -> str:
    """What the code does, without where it stands in its file."""
    constants = [_instructions(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def _warp(x: torch.Tensor, moves: torch.Tensor, mode: str) -> torch.Tensor:
    where = F.affine_grid(moves.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, where, mode=mode, align_corners=False)
