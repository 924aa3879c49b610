"""What scenes that are known tell of a device: point spread functions, crosstalk, the light of each frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..optics.imaging import image_by_kernels
from .captures import Layout, cut_windows, join_windows
from .faults import sound
from .photometry import Fit
from .reader import MeasuredData
from .ridge import Moments, ridge
from .steps import Calibration, Shots, Step, chunk_of, chunks, column

__all__ = [
    "Expected",
    "PointSpread",
    "correct_crosstalk",
    "correct_flicker",
    "crosstalk_matrix",
    "estimate_psf",
    "kernel_moments",
    "mean_point",
]

FOLDS = 5

BLOCK = 64
"""Scenes whose patches are in memory at a time."""

MOST_SCENES = 512
"""Of a large file, spread over it: they tell a matrix of some dozens of numbers."""

MEMORY = 512 << 20
"""Bytes of captures, in float64, that a step may look at."""

FEWEST_SCENES = 8


@dataclass(frozen=True, eq=False, repr=False)
class PointSpread:
    """Point spread functions, estimated from pictures of known scenes.

    Args:
        kernels: [c, y, x]; signed if the maps were.
        offset: [c], what is there without a scene.
        strength: of the regularisation, chosen on held-out scenes.
        before: relative residual, norm over norm, of the held-out scenes with the prior.
        after: with the estimate.
    """

    kernels: torch.Tensor
    offset: torch.Tensor
    strength: float
    before: float
    after: float

    def __repr__(self) -> str:
        size = tuple(self.kernels.shape)
        return f"<PointSpread {size}: held-out residual {self.before:.3g} -> {self.after:.3g}>"


def estimate_psf(
    scenes: torch.Tensor,
    maps: torch.Tensor,
    size: int,
    *,
    binning: int = 1,
    prior: torch.Tensor | None = None,
) -> PointSpread:
    r"""Point spread functions that turn known scenes into the maps that were measured.

    Least squares drawn towards a prior, with an offset for each channel; :math:`\lambda` is chosen by
    cross-validation over scenes:

    .. math:: \min_{K, b} \sum \|m - B (K * x) - b\|^2 + \lambda \|K - K_0\|^2

    Scenes of points do as well as any other. B is the binning; the kernels are on the pixels before it.

    Args:
        scenes: [n, 1, y, x], n >= 2.
        maps: [n, c, y / binning, x / binning], captures or signed feature maps.
        size: of the kernels, odd.
        binning: pixels averaged into a value of the maps, along each axis.
        prior: K_0 [c, size, size], such as the design; nothing without it.

    Raises:
        GridMismatch: maps or prior that do not belong to the scenes.
        InvalidArgument: an even size, fewer than two scenes, or values that are not finite.

    Example:
        >>> scenes = torch.rand(30, 1, 12, 12)
        >>> kernel = torch.tensor([[0.0, 0.2, 0.0], [0.1, 0.5, 0.0], [0.0, 0.0, -0.3]])
        >>> found = estimate_psf(scenes, image_by_kernels(scenes, kernel[None, None]) + 0.1, size=3)
        >>> bool((found.kernels[0] - kernel).abs().max() < 1e-4), round(found.offset.item(), 4)
        (True, 0.1)
    """
    if checks.count("size", size) % 2 == 0:
        raise InvalidArgument("size", "an odd number of pixels", size)
    if scenes.ndim != 4 or scenes.shape[1] != 1 or len(scenes) < 2:
        raise InvalidArgument("scenes", "two or more [n, 1, y, x]", f"{tuple(scenes.shape)}")
    binned = (len(scenes), *(n // checks.count("binning", binning) for n in scenes.shape[-2:]))
    if maps.ndim != 4 or (len(maps), *maps.shape[-2:]) != binned:
        raise GridMismatch(
            "maps", f"[{binned[0]}, c, {binned[1]}, {binned[2]}], as the scenes", f"{tuple(maps.shape)}"
        )
    channels = maps.shape[1]
    start = maps.new_zeros(channels, size, size) if prior is None else prior
    if start.shape != (channels, size, size):
        raise GridMismatch("prior", f"shape {(channels, size, size)}", f"{tuple(start.shape)}")
    for name, part in {"scenes": scenes, "maps": maps, "prior": start}.items():
        checks.finite(name, part)
    around = F.pad(scenes, (size // 2,) * 4)
    before = ridge_prior = torch.cat([start.flip(-2, -1).flatten(1).T, maps.new_zeros(1, channels)]).double()
    folds = []
    for fold in range(min(FOLDS, len(scenes))):
        mine = slice(fold, None, FOLDS)
        folds.append(kernel_moments(around[mine], maps[mine], (size, size), binning))
    found = ridge(folds, ridge_prior, free=1)
    power = float(_centred_power(maps))
    whole = sum(folds[1:], folds[0])
    return PointSpread(
        found.weight[:-1].T.reshape(channels, size, size).flip(-2, -1).to(maps),
        found.weight[-1].to(maps),
        found.strength,
        (float(whole.squares(before).sum()) / power) ** 0.5,
        (float(found.held_out.sum()) / power) ** 0.5,
    )


def kernel_moments(
    scenes: torch.Tensor, maps: torch.Tensor, kernel: tuple[int, int], binning: int = 1
) -> Moments:
    """Sums for the regression of maps on the patches of scenes, binned, and a 1.

    Args:
        scenes: [n, c, y + v - 1, x + u - 1], with what surrounds the picture.
        maps: [n, k, y / binning, x / binning].
        kernel: (v, u) samples.
        binning: pixels averaged into a value of the maps, along each axis.

    Returns:
        `Moments` of c v u + 1 columns; the weights correlate, so they are kernels mirrored.

    Raises:
        InvalidArgument: no scenes.
    """
    if not len(scenes):
        raise InvalidArgument("scenes", "at least one in every fold", 0)
    parts = []
    for scene, seen in zip(scenes.split(BLOCK), maps.split(BLOCK), strict=True):
        # both are linear: bins of patches are patches of a smoothed scene, of which few are needed
        smooth = F.avg_pool2d(scene.double(), binning, stride=1)
        patches = F.unfold(smooth, kernel, stride=binning)
        design = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
        parts.append(Moments.of(design.mT.flatten(0, 1), seen.flatten(2).mT.flatten(0, 1)))
    return sum(parts[1:], parts[0])


def _centred_power(maps: torch.Tensor) -> torch.Tensor:
    return (maps.double() - maps.double().mean((0, 2, 3), keepdim=True)).square().sum()


def mean_point(data: MeasuredData, calibration: Calibration, layout: Layout | None = None) -> torch.Tensor:
    """The mean picture of the point sources of a file, corrected.

    After the step ``flat`` it is relative to white at the exposure time of the scenes, and thus the point
    spread function of each capture; `signed_maps` makes the kernels of it. The background, the median of each
    capture, is subtracted: the picture of a point fills less than half of it.

    Args:
        data: a file with point-source frames, of one position.
        calibration: steps to apply.
        layout: captures on the sensor along (y, x); by default one.

    Returns:
        [captures, y, x] with the source where it was: in the middle, sample (y // 2, x // 2), if its
        position is (0, 0).

    Raises:
        InvalidArgument: no such frames, or several positions.
    """
    if data.psf is None:
        raise InvalidArgument("data", "a file with point-source frames", "none")
    if data.psf.position is not None and len(data.psf.position.unique(dim=0)) > 1:
        raise InvalidArgument("data", "point sources at one position", "several")
    total = sum(frames.double().sum(0) for _, frames in chunks(data.psf, calibration))
    mean = cut_windows(torch.as_tensor(total)[None] / len(data.psf), layout or (1, 1))[0]
    return mean - mean.flatten(1).median(1).values[:, None, None]


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
        InvalidArgument: values that are not finite.

    Example:
        >>> true = torch.rand(20, 2, 6, 6)
        >>> mixed = torch.stack([true[:, 0], 0.8 * true[:, 1] + 0.2 * true[:, 0]], 1)
        >>> matrix, offset = crosstalk_matrix(mixed, true)
        >>> bool((matrix - torch.tensor([[1.0, 0.0], [0.2, 0.8]])).abs().max() < 1e-3)
        True
    """
    if measured.shape != simulated.shape or measured.ndim != 4:
        raise GridMismatch("measured", f"shape {tuple(simulated.shape)}", f"{tuple(measured.shape)}")
    checks.finite("measured", measured)
    checks.finite("simulated", simulated)
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


def _unmix(captures: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """What belongs to each of the mixed captures [n, c, y, x]."""
    light = (captures - offset[:, None, None]).movedim(1, -1)
    return torch.linalg.solve(matrix, light[..., None])[..., 0].movedim(-1, 1)
