"""Which frames of a file show the same scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import torch

from ..provenance import tensor_hash
from .reader import Frames
from .steps import chunk_of

__all__ = ["repeats"]


def repeats(frames: Frames, shown: torch.Tensor | None = None) -> list[torch.Tensor]:
    """Numbers of the frames of each scene, in the order of its first frame.

    A scene is known again by its name, and by what was shown where the file holds that: a name may be that
    of a class. A frame without a name is a scene of its own.

    Args:
        frames: a group of a file.
        shown: what was shown, [n, c, y, x], where the file does not hold it.

    Returns:
        Of each scene, int64 [k] in rising order.
    """
    names = frames.name or [""] * len(frames)
    often = {name for name, count in Counter(names).items() if name and count > 1}
    pictures: list[Hashable] = [None] * len(frames)
    known = frames.shown if shown is None else shown
    if often and known is not None:
        parts = torch.arange(len(known)).split(chunk_of(frames))
        pictures = [tensor_hash(picture) for rows in parts for picture in known[rows]]
    scenes: dict[Hashable, list[int]] = {}
    for row, name in enumerate(names):
        scenes.setdefault((name, pictures[row]) if name in often else row, []).append(row)
    return [torch.tensor(rows) for rows in scenes.values()]
