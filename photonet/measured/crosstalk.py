"""Light of one capture that arrives in another: how much, and how it is given back."""

from __future__ import annotations

import torch

from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from .captures import Layout, cut_windows, join_windows
from .known_scenes import Expected
from .photometry import Fit
from .reader import MeasuredData
from .ridge import Moments, ridge
from .steps import Calibration, Shots, Step

__all__ = ["correct_crosstalk", "crosstalk_matrix"]

FOLDS = 5

MOST_SCENES = 512
"""Of a large file, spread over it: they tell a matrix of some dozens of numbers."""


def crosstalk_matrix(measured: torch.Tensor, simulated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each channel's light arrives in each channel.

    Least squares of the measured channels on all simulated ones, the same at every position, with an offset;
    drawn towards one common gain without crosstalk, as strongly as held-out scenes say.

    Args:
        measured: [n, c, y, x], n >= 2.
        simulated: [n, c, y, x] of the same scenes.

    Returns:
        Matrix [c, c] (row: where it is seen, column: where it belongs) and offset [c].

    Raises:
        GridMismatch: shapes that differ.
        InvalidArgument: fewer than two scenes, no light in the simulation, or values that are not finite.

    Example:
        >>> true = torch.rand(20, 2, 6, 6)
        >>> mixed = torch.stack([true[:, 0], 0.8 * true[:, 1] + 0.2 * true[:, 0]], 1)
        >>> matrix, offset = crosstalk_matrix(mixed, true)
        >>> bool((matrix - torch.tensor([[1.0, 0.0], [0.2, 0.8]])).abs().max() < 1e-3)
        True
    """
    measured, simulated = as_tensor("measured", measured), as_tensor("simulated", simulated)
    if measured.shape != simulated.shape or measured.ndim != 4:
        raise GridMismatch("measured", f"shape {tuple(simulated.shape)}", f"{tuple(measured.shape)}")
    if len(measured) < 2:
        raise InvalidArgument("measured", "two or more scenes", len(measured))
    if not bool(simulated.any()):
        raise InvalidArgument("simulated", "maps with light", "zeros everywhere")
    channels = measured.shape[1]

    def rows(maps: torch.Tensor) -> torch.Tensor:
        return maps.double().movedim(1, -1).flatten(0, 2)

    folds = []
    for fold in range(min(FOLDS, len(measured))):
        design, seen = rows(simulated[fold::FOLDS]), rows(measured[fold::FOLDS])
        folds.append(Moments.of(torch.cat([design, torch.ones_like(design[:, :1])], 1), seen))
    gain = float((measured.double() * simulated).sum() / simulated.double().square().sum())
    prior = torch.eye(channels + 1, channels, dtype=torch.float64) * gain
    weight = ridge(folds, prior, free=1).weight
    return weight[:-1].T.to(measured), weight[-1].to(measured)


def correct_crosstalk(psf: torch.Tensor, layout: Layout | None = None) -> Fit:
    """A step that gives each capture back the light that others got, and takes what it got of them.

    Args:
        psf: [2, k, 1, y, x], designed point spread functions (`MaskDesign.psf()`).
        layout: captures on the sensor along (y, x); by default (2 k, 1).

    Returns:
        A function for `calibrate`, for after ``flat``; the file must hold what was shown.

    Raises:
        InvalidArgument: when it is fitted: a file without the scenes.
    """
    known = Expected(psf, layout)

    def fit(data: MeasuredData, earlier: Calibration) -> Step:
        seen, expected = known.some(data, earlier, MOST_SCENES)
        halves = [slice(i, None, 2) for i in (0, 1)]
        left = 0.0
        for mine, others in (halves, halves[::-1]):
            matrix, offset = crosstalk_matrix(seen[mine], expected[mine])
            left += float((_unmix(seen[others], matrix, offset) - expected[others]).square().sum())
        matrix, offset = crosstalk_matrix(seen, expected)
        before = float((seen - expected).square().sum())
        if not left < before:
            matrix, offset, left = (
                torch.eye(seen.shape[1]).to(seen),
                torch.zeros(seen.shape[1]).to(seen),
                before,
            )

        def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
            own = _unmix(cut_windows(frames, known.layout), matrix.to(frames), offset.to(frames))
            return join_windows(own, known.layout) if frames.ndim == 3 else own

        power = float(expected.square().sum())
        return Step(
            "crosstalk",
            "%, held-out captures against the simulation",
            100 * (before / power) ** 0.5,
            100 * (left / power) ** 0.5,
            apply,
            {"matrix": matrix, "offset": offset},
        )

    return fit


def _unmix(captures: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """What belongs to each of the mixed captures [n, c, y, x]."""
    light = (captures - offset[:, None, None]).movedim(1, -1)
    return torch.linalg.solve(matrix, light[..., None])[..., 0].movedim(-1, 1)
