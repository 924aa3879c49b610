"""The optical frontend from its masks on: convolution by the PSFs of trainable reliefs, end to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..fabrication import Geometry
from ..grid import Grid
from ..mask.response import relief_response, turn_height
from ..materials import constant, load
from ..optics.imaging import image_by_kernels
from ..optics.phase import one_turn
from ..optics.psf import bin_pixels, psf
from .optical_conv import merge_signed

__all__ = ["MaskConv2d", "spread_phase"]


def spread_phase(
    masks: Sequence[int], grid: Grid, wavelength: float, distance: float, seed: int
) -> torch.Tensor:
    """Starting phases: a defocused lens times smooth random phases, a soft spot on the sensor.

    From rough phases a descent does not find its way (light goes everywhere); from a sharp focus
    all masks start alike, with dark pixels that have no gradient.

    Args:
        masks: leading axes.
        grid: samples of a mask.
        wavelength: in m.
        distance: to the sensor in m.
        seed: of the random phases.

    Returns:
        Phase in rad, float32 [*masks, y, x].

    Example:
        >>> spread_phase((2, 3), Grid(32, 1e-6), 525e-9, 1e-4, seed=0).shape
        torch.Size([2, 3, 32, 32])
    """
    y, x = grid.mesh()
    lens = -math.pi * (y.square() + x.square()) / (wavelength * 1.3 * distance)
    generator = torch.Generator().manual_seed(seed)
    coarse = 3 * torch.randn(math.prod(masks), 1, *(max(2, n // 16) for n in grid.shape), generator=generator)
    smooth = F.interpolate(coarse, size=grid.shape, mode="bilinear")
    return (lens.float() + smooth).reshape(*masks, *grid.shape)


class MaskConv2d(nn.Module):
    r"""Convolution by light whose kernels are the point spread functions of trainable masks.

    Every output channel has two masks, one for the positive and one for the negative capture, with their
    digital gains. The trainable phase goes through the exact propagation (`photonet.optics.psf`) and is
    summed over the sensor's pixels; the whole window is the kernel, stray light included, so what is
    trained is what a camera will see. The scene's colour channels are the wavelengths, and one relief
    serves them all.

    Args:
        out_channels: signed kernels.
        grid: samples of each mask.
        wavelength: of the scene's channels in m, one value or [L]; the phase is that at the first one.
        distance: mask to sensor in m.
        pixel: mask samples per sensor pixel along each axis; the kernel has ``samples // pixel`` pixels.
        binning: sensor pixels averaged into one feature, along each axis.
        material: of the relief in air, for its dispersion and absorption (`photonet.materials`); None for
            neither.
        camera: a layer the two captures go through before they are subtracted, such as
            `DetectorLayer`; None for a noiseless one. It reads one feature with one pixel, as a sensor that
            bins before the readout does. Where the ``b = binning`` times b pixels are read one by one,
            ``DetectorLayer(frames=b * b)`` has their shot and read noise.
        seed: of the starting phases.

    Shape:
        [n, L, y, x] -> [n, out_channels, y / binning, x / binning].

    Raises:
        InvalidArgument: counts below one, a distance that is not positive, a mask smaller than a pixel, a
            camera that is no layer.
        GridMismatch: a scene with another number of channels.

    Example:
        >>> layer = MaskConv2d(2, grid=Grid(42, 1e-6), wavelength=525e-9, distance=0.3e-3, pixel=6, binning=4)
        >>> layer(torch.rand(3, 1, 28, 28)).shape, layer.kernels().shape
        (torch.Size([3, 2, 7, 7]), torch.Size([2, 1, 7, 7]))
    """

    def __init__(
        self,
        out_channels: int,
        *,
        grid: Grid,
        wavelength: Any,
        distance: Any,
        pixel: int,
        binning: int = 1,
        material: str | None = None,
        camera: nn.Module | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        masks = (2, checks.count("out_channels", out_channels))
        self.grid = checks.instance("grid", grid, Grid, "a Grid")
        self.wavelength = tuple(checks.wavelength(wavelength).tolist())
        self.distance = checks.positive("distance", distance, "a positive length in m")
        self.pixel, self.binning = checks.count("pixel", pixel), checks.count("binning", binning)
        if min(grid.shape) < self.pixel:
            raise InvalidArgument("pixel", f"at most the mask's {min(grid.shape)} samples", pixel)
        self.material, self.surround = constant(2.0), constant(1.0)
        if material is not None:
            self.material, self.surround = load(material, "material"), load("air")
        self.turn_height = turn_height(self.material, self.surround, self.wavelength[0])
        camera = nn.Identity() if camera is None else camera
        self.camera = checks.instance("camera", camera, nn.Module, "a torch module", "see DetectorLayer")
        self.phase = nn.Parameter(
            spread_phase(masks, grid, self.wavelength[0], self.distance, checks.count("seed", seed, least=0))
        )
        self.gain = nn.Parameter(torch.ones(masks))

    def height(self) -> torch.Tensor:
        """Relief in m, [2, out_channels, y, x], at most one turn deep; for an index contrast of 1 without a
        material."""
        return one_turn(self.phase.detach()) / (2 * math.pi) * self.turn_height

    def psf(self) -> torch.Tensor:
        """PSFs on the sensor's pixels [2, out_channels, L, v, u]; the sum is the light that lands."""
        # a relief of one turn serves all wavelengths; at the first, wrapping changes nothing
        relief = one_turn(self.phase) / (2 * math.pi) * self.turn_height
        made = Geometry(
            shape=tuple(relief.shape), pitch=self.grid.pitch, height=relief, index=relief.new_zeros(1, 1)
        )
        light = relief_response(made, checks.wavelength(self.wavelength), self.material, self.surround)
        return bin_pixels(psf(light, self.grid, self.wavelength, self.distance), self.pixel)

    def kernels(self) -> torch.Tensor:
        """Signed kernels [out_channels, L, v, u] that the masks and their gains act as."""
        return merge_signed(self.psf(), self.gain)

    def captures(self, scene: torch.Tensor) -> torch.Tensor:
        """What the camera reads, positive and negative: [n, 2, out_channels, y, x]."""
        if scene.ndim != 4 or scene.shape[1] != len(self.wavelength):
            raise GridMismatch(
                "scene", f"[n, {len(self.wavelength)}, y, x], a wavelength a channel", tuple(scene.shape)
            )
        images = image_by_kernels(scene, self.psf().flatten(0, 1), self.binning)
        read: torch.Tensor = self.camera(images.clamp(min=0))
        return read.unflatten(1, (2, -1))

    def forward(self, scene: torch.Tensor) -> torch.Tensor:
        """Signed feature maps of the scenes."""
        if isinstance(self.camera, nn.Identity):
            return image_by_kernels(scene, self.kernels(), self.binning)
        positive, negative = (self.captures(scene) * self.gain[..., None, None]).unbind(1)
        return positive - negative

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        sizes = f"{len(self.wavelength)}, {self.gain.shape[1]}, masks {self.grid}"
        return f"{sizes}, pixel={self.pixel}, binning={self.binning}"
