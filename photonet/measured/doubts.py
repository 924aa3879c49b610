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

PILED = 6.0
"""Standard deviations of the dark that a plateau of full pixels spans, from its brightest part down."""

PILED_RATIO = 4.0
"""Pixels of a plateau relative to those in an interval as long beneath it; light thins out upwards."""

PILED_PIXELS = 20
"""Of a plateau, so that their number is no chance."""

LEAST_NOISE = 0.5
"""Standard deviation in DN of the dark, for fewer pixels than grey values show its noise."""

CLEARLY_LIT = 200.0
"""Standard deviations of the dark above it from which the shot noise of light is much more than that."""

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
    if data.saturation is None and data.dark is not None:
        for group, which, message in _piled_up(data, data.dark, bright):
            doubt(group, which, message)
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


def _piled_up(
    data: MeasuredData, dark: Frames, bright: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> list[tuple[Frames, torch.Tensor, str]]:
    """Frames whose brightest pixels lie closer together than shot noise lets them: the wells are full."""
    usable = {
        group: is_unsaturated(group) & bright[group.group][1].isfinite()
        for group in (data.scenes, data.flat, data.psf)
        if group is not None
    }
    black, noise = _dark_level(dark)
    tops = torch.cat([bright[group.group][1][good] for group, good in usable.items()])
    if not len(tops) or not tops.max() - black > CLEARLY_LIT * noise:
        return []
    edge = float(tops.max()) - PILED * noise
    piled, beneath = {}, 0
    for group, good in usable.items():
        piled[group] = torch.zeros(len(group), dtype=torch.long)
        for rows in good.nonzero()[:, 0].split(chunk_of(group)):
            pixels = group[rows].flatten(1)
            piled[group][rows] = (pixels > edge).sum(1)
            beneath += int(((pixels > edge - PILED * noise) & (pixels <= edge)).sum())
    if sum(int(n.sum()) for n in piled.values()) < max(PILED_PIXELS, PILED_RATIO * beneath):
        return []
    found = []
    for group, counts in piled.items():
        share = counts / group.shape[1:].numel()
        message = (
            f"{100 * float(share.max()):.3g} % of the pixels pile up above {edge:.5g} DN, as where the full "
            "well is reached; the argument saturation of write tells its level"
        )
        found.append((group, share > SATURATED_SHARE, message))
    return found


def _dark_level(dark: Frames) -> tuple[float, float]:
    """Median, and half of the range of the middle 68 %, of a dark frame in DN: hot pixels do not count."""
    n = dark.shape[1:].numel()
    ranks = [max(1, math.ceil(part * n)) for part in (0.16, 0.5, 0.84)]
    levels = [
        torch.stack([dark[rows].flatten(1).kthvalue(rank, 1).values for rank in ranks])
        for rows in torch.arange(len(dark)).split(chunk_of(dark))
    ]
    low, middle, high = torch.cat(levels, 1).nanmedian(1).values.tolist()
    return middle, max((high - low) / 2, LEAST_NOISE)


def _brightness(frames: Frames) -> tuple[torch.Tensor, torch.Tensor]:
    """The brightest value of each frame, and that below which nearly all are: [n] each."""
    most, nearly = [], []
    for rows in torch.arange(len(frames)).split(chunk_of(frames)):
        pixels = frames[rows].flatten(1)
        most.append(pixels.amax(1))
        nearly.append(pixels.kthvalue(math.ceil(BRIGHT * pixels.shape[1]), 1).values)
    return torch.cat(most), torch.cat(nearly)
