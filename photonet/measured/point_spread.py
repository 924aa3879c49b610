"""Point spread functions of a device, from pictures of scenes that are known, or of points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .. import checks
from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from .captures import Layout, cut_windows
from .reader import MeasuredData
from .ridge import Moments, ridge
from .steps import Calibration, chunks

__all__ = ["PointSpread", "estimate_psf", "kernel_moments", "mean_point"]

FOLDS = 5

BLOCK = 64
"""Scenes whose patches are in memory at a time."""


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
        InvalidArgument: an even size, fewer than two scenes, maps without any contrast, or values that are
            not finite.

    Example:
        >>> from photonet.optics.imaging import image_by_kernels
        >>> scenes = torch.rand(30, 1, 12, 12)
        >>> kernel = torch.tensor([[0.0, 0.2, 0.0], [0.1, 0.5, 0.0], [0.0, 0.0, -0.3]])
        >>> found = estimate_psf(scenes, image_by_kernels(scenes, kernel[None, None]) + 0.1, size=3)
        >>> bool((found.kernels[0] - kernel).abs().max() < 1e-4), round(found.offset.item(), 4)
        (True, 0.1)
    """
    if checks.count("size", size) % 2 == 0:
        raise InvalidArgument("size", "an odd number of pixels", size)
    scenes, maps = as_tensor("scenes", scenes), as_tensor("maps", maps)
    if scenes.ndim != 4 or scenes.shape[1] != 1 or len(scenes) < 2:
        raise InvalidArgument("scenes", "two or more [n, 1, y, x]", f"{tuple(scenes.shape)}")
    binned = (len(scenes), *(n // checks.count("binning", binning) for n in scenes.shape[-2:]))
    if maps.ndim != 4 or (len(maps), *maps.shape[-2:]) != binned:
        raise GridMismatch(
            "maps", f"[{binned[0]}, c, {binned[1]}, {binned[2]}], as the scenes", f"{tuple(maps.shape)}"
        )
    channels = maps.shape[1]
    start = maps.new_zeros(channels, size, size) if prior is None else as_tensor("prior", prior)
    if start.shape != (channels, size, size):
        raise GridMismatch("prior", f"shape {(channels, size, size)}", f"{tuple(start.shape)}")
    if torch.equal(maps.amax((0, 2, 3)), maps.amin((0, 2, 3))):
        raise InvalidArgument("maps", "maps with contrast", "maps that are the same everywhere")
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
