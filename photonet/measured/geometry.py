"""The geometry of a bench, undone in its frames: before binning, a displacement loses only the border."""

from __future__ import annotations

import torch

from ..errors import InvalidArgument
from .captures import Layout, cut_windows, join_windows
from .known_scenes import Expected
from .photometry import Fit
from .reader import MeasuredData
from .register import Registration, mixture, register, unexplained
from .steps import Calibration, Shots, Step

__all__ = ["correct_geometry"]

MOST_SCENES = 100
"""Enough to register: errors of the model, not noise, limit it beyond."""

MEMORY = 32 << 20
"""Bytes of captures that are registered; it takes some fifty times as much to do so."""

UNIFORM = ("dark", "flat")
"""Groups of frames that no optic has imaged."""


def correct_geometry(psf: torch.Tensor, layout: Layout | None = None) -> Fit:
    r"""A step that turns, shrinks and moves each capture back to where its simulation has it.

    The rotation, enlargement and displacement common to all captures are those of `register`, which allows
    each capture a mixture of all, so that crosstalk does not pass for a displacement. They are undone by a
    cubic spline through the pixels. After binning, the same displacement would be aliased and could only be
    guessed: that is why it belongs here. Light that missed the sensor's window is lost. Stray light, the same
    all over a capture, is subtracted first, since its border is not moved.

    Args:
        psf: [2, k, 1, y, x], designed point spread functions (`MaskDesign.psf()`).
        layout: captures on the sensor along (y, x); by default (2 k, 1).

    Returns:
        A function for `calibrate`, for after ``flat``; the file must hold what was shown. Dark and flat
        frames are left alone.

    Raises:
        InvalidArgument: when it is fitted: a file without the scenes, or captures without contrast.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, calibrate, write
        >>> from photonet.measured.lab import warp
        >>> from photonet.optics.imaging import image_by_kernels
        >>> scenes = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> psf = torch.ones(2, 1, 1, 3, 3) / 9
        >>> moved = warp(image_by_kernels(scenes, psf.flatten(0, 1)), shift_x=1.0)
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> write(path, Part(1000 * moved.flatten(1, 2), 1e-3, shown=scenes))
        >>> with MeasuredData(path) as data:
        ...     step = calibrate(data, [correct_geometry(psf)])["geometry"]
        >>> round(step.parameters["registration"].shift_x, 2), step.after < step.before
        (1.0, True)
    """
    known = Expected(psf, layout)

    def fit(data: MeasuredData, earlier: Calibration) -> Step:
        seen, simulated = known.some(data, earlier, MOST_SCENES, MEMORY)
        if len(seen) < 2:
            raise InvalidArgument("data", "two or more scenes", len(seen))
        halves = [slice(i, None, 2) for i in (0, 1)]
        before = after = power = 0.0
        for mine, others in (halves, halves[::-1]):
            found = register(simulated[mine], seen[mine], crosstalk=True)
            model, held = simulated[others], seen[others]
            before += float(unexplained(model, held, crosstalk=True).square().sum())
            after += float(unexplained(found.apply(model), held, crosstalk=True).square().sum())
            power += float((held - held.mean((0, 2, 3), keepdim=True)).square().sum())
        found = register(simulated, seen, crosstalk=True)
        if not after < before:
            found, after = Registration(0.0, 0.0, 0.0, 0.0, (0.0,) * 4, found.before, found.before), before
        # light that is there without a scene fills the sensor: it has no border that could be moved
        offset = mixture(found.apply(simulated), seen)[1][:, None, None]

        def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
            if shots.group in UNIFORM:
                return frames
            own = found.undo(cut_windows(frames, known.layout) - offset.to(frames))
            return join_windows(own, known.layout) if frames.ndim == 3 else own

        return Step(
            "geometry",
            "%, held-out captures against the best mixture of the simulated ones",
            100 * (before / power) ** 0.5,
            100 * (after / power) ** 0.5,
            apply,
            {"registration": found, "offset": offset[:, 0, 0]},
        )

    return fit
