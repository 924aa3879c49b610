"""Faults of a measurement, told from the numbers that are kept beside the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .shutter import SAME, are_among

__all__ = ["FAULTS", "OF_FRAMES", "Finding", "faults", "faulty_frames", "in_words", "sound"]

FAULTS = ("dark", "exposure", "labels", "saturated", "values")
"""Kinds of findings that the reader can be told to accept; ``damage`` is not among them."""

OF_FRAMES = ("saturated", "values")
"""Those of single frames."""

SATURATED_SHARE = 1e-3
"""Share of saturated pixels from which a frame counts as saturated (fewer may be hot pixels)."""


@dataclass(frozen=True)
class Finding:
    """One finding: its kind (damage, one of `FAULTS`, or doubt), where it is, and what it is."""

    kind: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def faulty_frames(group: Any) -> dict[str, torch.Tensor]:
    """Which frames of a group are wrong in themselves, by the kind of fault: bool [n]."""
    return dict(zip(OF_FRAMES, (group.saturated > SATURATED_SHARE, ~torch.isfinite(group.mean)), strict=True))


def sound(group: Any) -> torch.Tensor:
    """Numbers of the frames to fit a correction to: without a fault, or saturated if there are no others."""
    full, wrong = faulty_frames(group).values()
    good = ~full & ~wrong
    return (good if bool(good.any()) else ~wrong).nonzero()[:, 0]


def faults(scenes: Any, dark: Any = None, flat: Any = None, psf: Any = None) -> list[Finding]:
    """What is wrong with the measurement itself.

    Args:
        scenes, dark, flat, psf: `reader.Frames`, or None.
    """
    found = []
    for name, group in {"scenes": scenes, "dark": dark, "flat": flat, "psf": psf}.items():
        if group is None:
            continue
        full, wrong = faulty_frames(group).values()
        if bool(wrong.any()):
            found.append(Finding("values", f"{name}, {in_words(wrong)}", "NaN or infinite values"))
        for column in ("temperature", "time"):
            endless = getattr(group, column).isinf()
            if bool(endless.any()):
                found.append(Finding("values", f"{name}, {in_words(endless)}", f"an infinite {column}"))
        if name != "dark" and bool(full.any()):
            share = 100 * group.saturated.max().item()
            found.append(
                Finding("saturated", f"{name}, {in_words(full)}", f"saturated in {share:.3g} % of the pixels")
            )
    if dark is not None:
        level = scenes.mean[scenes.mean.isfinite()].median() if scenes.mean.isfinite().any() else torch.inf
        # a longer exposure, of the flats or the point sources, may be brighter than the scenes
        bright = (dark.mean >= level) & (dark.exposure <= (1 + SAME) * scenes.exposure.max())
        if bool(bright.any()):
            message = f"not darker than the scenes (mean {dark.mean[bright].max():.4g}, scenes {level:.4g})"
            found.append(Finding("dark", f"dark, {in_words(bright)}", message))
        known = torch.cat([g.exposure for g in (scenes, flat, psf) if g is not None])
        other = ~are_among(dark.exposure, known)
        if bool(other.any()):
            message = f"an exposure of {dark.exposure[other][0]:g} s, at which there are no other frames"
            found.append(Finding("exposure", f"dark, {in_words(other)}", message))
    if scenes.label is not None:
        missing = (scenes.label.flatten(1) == -1).any(1) if scenes.label.ndim > 1 else scenes.label == -1
        if bool(missing.any()):
            found.append(Finding("labels", f"scenes, {in_words(missing)}", "no label"))
    return found


def in_words(which: torch.Tensor) -> str:
    """The marked frames in words."""
    numbers = which.nonzero()[:, 0].tolist()
    if len(numbers) == 1:
        return f"frame {numbers[0]}"
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return f"frames {numbers[0]} to {numbers[-1]}"
    some = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{len(numbers)} frames ({some})"
