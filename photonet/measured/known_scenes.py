"""What scenes that are known tell of a device: its captures beside the design's, the light of each frame."""

from __future__ import annotations

import torch

from ..errors import GridMismatch, InvalidArgument
from ..optics.imaging import image_by_kernels
from .captures import Layout, cut_windows
from .faults import sound
from .photometry import Fit
from .reader import MeasuredData
from .steps import Calibration, Shots, Step, chunk_of, column

__all__ = ["Expected", "correct_flicker"]

MEMORY = 512 << 20
"""Bytes of captures, in float64, that a step may look at."""

FEWEST_SCENES = 8


class Expected:
    """Captures of known scenes, as a file has them and as the design's masks would give them.

    Args:
        psf: [2, k, 1, y, x], designed point spread functions.
        layout: captures on the sensor along (y, x); by default (2 k, 1).

    Raises:
        InvalidArgument: another shape.
    """

    def __init__(self, psf: torch.Tensor, layout: Layout | None = None) -> None:
        if psf.ndim != 5 or len(psf) != 2 or psf.shape[2] != 1:
            raise InvalidArgument("psf", "shape [2, k, 1, y, x]", f"{tuple(psf.shape)}")
        self.kernels = psf.detach().flatten(0, 1)
        self.layout = layout or (len(self.kernels), 1)

    def captures(
        self, data: MeasuredData, earlier: Calibration, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of some scenes as measured and as simulated, float64 [n, 2 k, y, x].

        Raises:
            InvalidArgument: a file without the scenes.
            GridMismatch: captures of another number or size.
        """
        shown = data.scenes.shown
        if shown is None:
            raise InvalidArgument("data", "a file that holds what was shown", "one without")
        seen = cut_windows(earlier.read(data.scenes, rows).double(), self.layout)
        expected = image_by_kernels(shown[rows].double(), self.kernels.double())
        if seen.shape != expected.shape:
            got, wanted = (f"captures {tuple(part.shape[1:])}" for part in (expected, seen))
            raise GridMismatch("psf", f"{wanted}, as in the file", got)
        return seen, expected

    def some(
        self, data: MeasuredData, earlier: Calibration, most: int, memory: int = MEMORY
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of at most so many scenes, spread over the file; fewer if frames are very large."""
        usable = sound(data.scenes)
        count = min(len(usable), most, max(FEWEST_SCENES, memory // (8 * data.scenes.shape[1:].numel())))
        rows = usable[torch.linspace(0, len(usable) - 1, count).round().long()]
        both = [self.captures(data, earlier, part) for part in rows.split(chunk_of(data.scenes))]
        return torch.cat([seen for seen, _ in both]), torch.cat([expected for _, expected in both])


def correct_flicker(psf: torch.Tensor, layout: Layout | None = None) -> Fit:
    """A step that divides each frame of a scene by the light it had more than the others.

    How bright a frame should be is known from its scene; the light of each capture is a line over that of its
    simulation. The residual is told on half of the captures, corrected by what the other half says; if that
    does not make it smaller, nothing is corrected.

    Args:
        psf, layout: as in `correct_crosstalk`; at least two captures.

    Returns:
        A function for `calibrate`; the file must hold what was shown. Frames of other groups are left alone,
        those of another file are refused: theirs was another light.
    """
    known = Expected(psf, layout)

    def fit(data: MeasuredData, earlier: Calibration) -> Step:
        file, light = data.scenes.file, []
        for rows in torch.arange(len(data.scenes)).split(chunk_of(data.scenes)):
            light.append([c.sum((-2, -1)) for c in known.captures(data, earlier, rows)])
        seen, expected = (torch.cat(part) for part in zip(*light, strict=True))
        fitted = sound(data.scenes)
        design = torch.stack([expected, torch.ones_like(expected)], -1)[fitted].movedim(1, 0)
        line = torch.linalg.lstsq(design, seen[fitted].T[..., None]).solution
        usual = expected * line[:, 0, 0] + line[:, 1, 0]

        def share(captures: slice) -> torch.Tensor:
            return seen[:, captures].sum(1) / usual[:, captures].sum(1)

        one, other, factor = share(slice(0, None, 2)), share(slice(1, None, 2)), share(slice(None))
        before, after = (float(part[fitted].std(correction=0)) for part in (other, other / one))
        if not after < before:  # what differs is not common to the captures of a frame
            factor, after = torch.ones_like(factor), before

        def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
            if shots.group != "scenes":
                return frames
            if shots.file != file:
                raise InvalidArgument("shots", "scenes of the file it was fitted to", "another file's")
            return frames / column(factor[shots.rows], frames)

        return Step(
            "flicker",
            "%, rms change of light in one half of the captures, by the other",
            100 * before,
            100 * after,
            apply,
            {"light": factor},
        )

    return fit
