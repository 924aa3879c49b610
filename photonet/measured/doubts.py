"""What is odd about a measurement without making it faulty: `check` says it, the reader does not refuse."""

from __future__ import annotations

import math

import torch

from . import series
from .faults import SATURATED_SHARE, Finding, in_words
from .reader import Frames, MeasuredData
from .series import is_unsaturated
from .shutter import are_among
from .steps import chunk_of

__all__ = ["doubts"]

BRIGHT = 0.999
"""Share of a frame's pixels below its brightest ones, some of which may be hot."""

BEYOND = 1.05
"""Brightness relative to the brightest flat frame from which a scene is beyond it, and not its noise."""


def doubts(data: MeasuredData) -> list[Finding]:
    """What one may want to measure differently, of the kind ``doubt``; all frames are read.

    Args:
        data: an open file.
    """
    if data.kind != "frames":
        return []
    found = []
    groups = [group for group in (data.scenes, data.dark, data.flat, data.psf) if group is not None]

    def doubt(group: Frames, which: torch.Tensor, message: str) -> None:
        if bool(which.any()):
            found.append(Finding("doubt", f"{group.group}, {in_words(which)}", message))

    bright = {group.group: _brightness(group) for group in groups}
    for group in groups:
        if data.bits:
            top = 2**data.bits - 1
            doubt(group, bright[group.group][0] > top, f"values above {top}, the most of {data.bits} bits")
        for column in ("temperature", "time"):
            values = getattr(group, column)
            if bool(values.isfinite().any()):
                doubt(group, values.isnan(), f"no {column}, but others have one")
    if data.psf is not None:
        hot = 0.0 if data.dark is None else float(data.dark.saturated.max())  # a spot is small, too
        clipped = (data.psf.saturated > hot) & (data.psf.saturated <= SATURATED_SHARE)
        doubt(data.psf, clipped, "saturated pixels, of which a small spot has few")
    if data.dark is not None:
        alone = ~are_among(data.scenes.exposure, data.dark.exposure)
        doubt(data.scenes, alone, "an exposure time at which there are no dark frames")
    if data.flat is not None and series.lacks(data) is None:
        level = float(bright["flat"][1][is_unsaturated(data.flat)].max())
        beyond = bright["scenes"][1] > BEYOND * level
        doubt(data.scenes, beyond, f"brighter than any flat frame ({level:.4g} DN)")
    if data.flat is not None and bool(data.flat.time.isfinite().any()):
        if data.psf is not None and not bool(data.psf.time.isfinite().any()):
            doubt(data.psf, ~data.psf.time.isfinite(), "no time, but flat frames have one: drift stays")
        untimed = torch.full((len(data.scenes),), not bool(data.scenes.time.isfinite().any()))
        doubt(data.scenes, untimed, "no time, but flat frames have one: drift is not corrected")
    backwards = torch.zeros(len(data.scenes), dtype=torch.bool)
    backwards[1:] = data.scenes.time.diff() < 0
    doubt(data.scenes, backwards, "a time before that of the frame before")
    return found


def _brightness(frames: Frames) -> tuple[torch.Tensor, torch.Tensor]:
    """The brightest value of each frame, and that below which nearly all are: [n] each."""
    most, nearly = [], []
    for rows in torch.arange(len(frames)).split(chunk_of(frames)):
        pixels = frames[rows].flatten(1)
        most.append(pixels.amax(1))
        nearly.append(pixels.kthvalue(math.ceil(BRIGHT * pixels.shape[1]), 1).values)
    return torch.cat(most), torch.cat(nearly)
