"""A device's own kernels, found by linear least squares where its camera is straight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import GridMismatch
from ..measured.features import Measured
from ..measured.point_spread import kernel_moments
from ..measured.register import Registration
from ..measured.ridge import ridge
from ..nn import HybridNetwork, merge_signed
from ..optics.imaging import bin_kernel
from .twin import captures, displaced_scenes

__all__ = ["OwnKernels", "fit_kernels", "unknowns"]

MARGIN = 3
"""Pixels around the designed kernels: a displacement, crosstalk and blur end up in them."""

FOLDS = 5


class OwnKernels(nn.Module):
    r"""Feature maps of a registered device with a straight camera: :math:`z = B (K * Wx) + O`.

    W displaces the scene as the bench does its image, K are the signed kernels of the device, B bins and O is
    an offset of each channel.

    Args:
        kernels: [k, c, v, u].
        offset: [k].
        noise: [k], what held-out maps scatter about this.
        registration: the geometry of the bench.
        binning: pixels averaged into a feature, along each axis.

    Shape:
        [n, c, y, x] -> [n, k, y / binning, x / binning].
    """

    kernels: torch.Tensor
    offset: torch.Tensor
    noise: torch.Tensor

    def __init__(
        self,
        kernels: torch.Tensor,
        offset: torch.Tensor,
        noise: torch.Tensor,
        registration: Registration,
        binning: int,
    ) -> None:
        super().__init__()
        for name, value in (("kernels", kernels), ("offset", offset), ("noise", noise)):
            self.register_buffer(name, value)
        self.registration, self.binning = registration, binning

    def forward(self, scenes: torch.Tensor) -> torch.Tensor:
        """Expected feature maps, without noise."""
        return self.read(displaced_scenes(scenes, self.registration, self.kernels))

    def read(self, displaced: torch.Tensor) -> torch.Tensor:
        """Those of scenes that were displaced already, by `displaced_scenes` for these kernels."""
        folded = bin_kernel(self.kernels.flip(-2, -1), self.binning)
        maps = F.conv2d(_seen(displaced, self.kernels), folded, stride=self.binning)
        return maps + self.offset[:, None, None]


def fit_kernels(student: HybridNetwork, frames: Measured, registration: Registration) -> OwnKernels:
    r"""Find the signed kernels of a device from its feature maps; labels are not used.

    Ridge regression of the maps on the patches of the displaced scenes, drawn towards the designed kernels,
    the strength chosen by 5-fold cross-validation over scenes. Errors of the masks, unequal captures,
    crosstalk and what the registration left of a displacement are all kernels, so a straight camera with
    equal pixels is described exactly. Solved in float64.

    Args:
        student: with an `OpticalConv2d` or a `MaskConv2d` in front.
        frames: measured feature maps, calibrated by flat frames, and their scenes.
        registration: the geometry of the bench.

    Raises:
        InvalidArgument: another frontend, or fewer than two frames.
        GridMismatch: feature maps of another number or size than the frontend's.

    Example:
        >>> from photonet.models import compressed_meta
        >>> student, scenes = compressed_meta(kernels=2, kernel_size=3), torch.rand(40, 1, 28, 28)
        >>> upright = Registration(0.0, 0.0, 0.0, 0.0, (0.0,) * 4, 0.0, 0.0)
        >>> with torch.no_grad():
        ...     frames = Measured(scenes, 0.8 * student.features(scenes).flip(1))  # channels swapped
        >>> found = fit_kernels(student, frames, upright)
        >>> float((found(scenes) - frames.features).abs().max()) < 1e-3
        True
    """
    psf, gain, binning = captures(student.frontend)
    expected = (len(gain.T), *(n // binning for n in frames.scenes.shape[-2:]))
    if tuple(frames.features.shape[1:]) != expected:
        raise GridMismatch("frames", f"features [n, {expected}]", f"{tuple(frames.features.shape)}")
    wide = F.pad(merge_signed(psf, gain), (MARGIN,) * 4).to(frames.scenes)
    design = registration.turn(wide)
    displaced = displaced_scenes(frames.scenes, registration, design)
    seen, (v, u) = _seen(displaced, design), design.shape[-2:]
    folds = [
        kernel_moments(seen[fold::FOLDS], frames.features[fold::FOLDS], (v, u), binning)
        for fold in range(min(FOLDS, len(frames)))
    ]
    # patches correlate, kernels convolve
    prior = torch.cat([design.flip(-2, -1).flatten(1).T, design.new_zeros(1, len(design))])
    fitted = ridge(folds, prior, free=1)
    weight = fitted.weight.to(frames.scenes)
    kernels = weight[:-1].T.reshape(design.shape).flip(-2, -1)
    values = frames.features[:, 0].numel()
    noise = (fitted.held_out / values).sqrt().to(frames.scenes)
    return OwnKernels(kernels, weight[-1], noise, registration, binning)


def _seen(displaced: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """What the kernels see: the axis is sample n // 2, so an even one sees a sample less before it."""
    v, u = kernels.shape[-2:]
    return displaced[..., 1 - v % 2 :, 1 - u % 2 :]


def unknowns(student: HybridNetwork) -> int:
    """Samples of one kernel of the student's device, of all colours, that `fit_kernels` has to find.

    Example:
        >>> from photonet.models import compressed_meta
        >>> unknowns(compressed_meta())  # 7 x 7, and 3 more on each side
        169
    """
    *_, colours, y, x = captures(student.frontend)[0].shape
    return int(colours * (y + 2 * MARGIN) * (x + 2 * MARGIN))
