"""Kernels to masks: surface reliefs whose point spread functions are the wished kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from .. import checks
from ..arrays import as_tensor
from ..errors import InvalidArgument
from ..grid import Grid
from ..mask import HeightMask, Mask
from ..mask.response import turn_height
from ..materials import load
from ..nn.mask_conv import spread_phase
from ..nn.optical_conv import merge_signed, split_signed
from ..optics.phase import one_turn
from ..optics.psf import bin_pixels, psf
from ..progress import track

__all__ = ["MaskDesign", "kernels_to_masks"]

STEP = 0.3
"""Learning rate of the descent in rad: large, because phases may wrap; the cosine schedule ends it softly."""


@dataclass(frozen=True, eq=False, repr=False)
class MaskDesign:
    """An array of masks, one for the positive and one for the negative part of each kernel.

    Args:
        mask: heights [2, k, y, x], with its design wavelength and distance.
        gain: [2, k] digital gains of the captures at the subtraction.
        pixel: mask samples per feature pixel along each axis.
        efficiency: [2, k] fraction of the light that lands on the kernel's pixels.
        error: [2, k] relative L2 distance of the PSF, stray light included, from the wished one.
    """

    mask: HeightMask
    gain: torch.Tensor
    pixel: int
    efficiency: torch.Tensor
    error: torch.Tensor

    def __repr__(self) -> str:
        return f"<MaskDesign of {self.mask!r}>"

    def psf(self, mask: Mask | None = None) -> torch.Tensor:
        """PSFs [..., 2, k, 1, y, x] of the designed masks, or of masks that were made from them.

        One value per feature pixel; the sum is the fraction of the light in the window.
        """
        return bin_pixels(self.fine_psf(mask), self.pixel)

    def fine_psf(self, mask: Mask | None = None) -> torch.Tensor:
        """PSFs [..., 2, k, 1, y, x] on the mask's samples."""
        mask = mask or self.mask
        if mask.wavelength is None or mask.distance is None:
            raise InvalidArgument("mask", "a mask with a design wavelength and distance", repr(mask))
        return psf(mask.transmission(mask.wavelength), mask.grid, mask.wavelength, mask.distance)

    def kernels(self, mask: Mask | None = None) -> torch.Tensor:
        """Signed kernels [..., k, 1, y, x] that the masks act as, efficiency included."""
        return merge_signed(self.psf(mask), self.gain)


def kernels_to_masks(
    kernels: torch.Tensor,
    *,
    wavelength: float,
    distance: float,
    pitch: float,
    pixel: int,
    samples: int,
    material: str = "SiO2",
    steps: int = 150,
    seed: int = 0,
) -> MaskDesign:
    r"""Design a phase relief for the positive and the negative part of every kernel.

    Gradient descent (Adam) through the exact propagation on the phases of all masks at once, from
    random phases over a lens that spreads the light over the kernel. The loss is the squared distance
    of the PSF, binned to pixels, from the wished one, over the whole window: light beside the kernel
    counts as an error. Two-stage design as in arXiv 2511.02065.

    Args:
        kernels: signed, [k, 1, v, u], square and of an odd size.
        wavelength: in m.
        distance: from mask to sensor in m.
        pitch: of the mask samples in m.
        pixel: mask samples per kernel pixel along each axis.
        samples: of a mask along each axis; the window must hold the kernel.
        material: of the relief (in air); see `photonet.materials`. The descent takes it as clear; what it
            absorbs is in the ``efficiency`` and the ``error`` that are returned.
        steps: of the descent.
        seed: of the starting phases.

    Returns:
        `MaskDesign`.

    Raises:
        InvalidArgument: a window smaller than the kernel, a colour kernel, a kernel that is all zero, not
            square or of an even size.

    Example:
        >>> kernel = torch.zeros(1, 1, 3, 3)
        >>> kernel[0, 0, 1, 2], kernel[0, 0, 1, 0] = 1.0, -1.0
        >>> design = kernels_to_masks(kernel, wavelength=525e-9, distance=0.3e-3, pitch=1e-6, pixel=6,
        ...                           samples=42, steps=40)
        >>> design.kernels().shape
        torch.Size([1, 1, 7, 7])
    """
    kernels = as_tensor("kernels", kernels)
    if len(waves := checks.wavelength(wavelength)) != 1:
        raise InvalidArgument("wavelength", "one wavelength in m", f"{len(waves)} of them")
    if kernels.ndim != 4 or kernels.shape[1] != 1:
        raise InvalidArgument("kernels", "shape [k, 1, v, u], one colour", f"{tuple(kernels.shape)}")
    if kernels.shape[2] != kernels.shape[3] or kernels.shape[3] % 2 == 0:
        raise InvalidArgument("kernels", "square kernels of an odd size", f"{tuple(kernels.shape)}")
    checks.count("steps", steps)
    checks.positive("distance", distance, "a positive length in m")
    kernels = kernels.detach().cpu().float()
    wished, gain = split_signed(kernels)
    if bool((gain.sum(dim=0) == 0).any()):
        raise InvalidArgument("kernels", "kernels that are not all zero", "an empty kernel")
    # a kernel of one sign needs no second optic; its empty partner is given the same PSF and no gain
    wished = torch.where(gain[..., None, None, None] > 0, wished, wished.flip(0))
    window = torch.empty(checks.count("samples", samples), samples, device="meta")
    # as many pixels as fit around the axis
    wished = _in_window(wished, bin_pixels(window, checks.count("pixel", pixel)).shape[-1])

    tallest = turn_height(load(material, "material"), load("air"), wavelength)
    grid = Grid(samples, pitch)
    start = spread_phase(wished.shape[:2], grid, wavelength, distance, seed)[..., None, :, :]
    phase = start.requires_grad_(True)
    optimizer = torch.optim.Adam([phase], lr=STEP)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in track(range(steps), "designing masks"):
        with torch.enable_grad():
            light = torch.polar(torch.ones_like(phase), phase)
            loss = _error(bin_pixels(psf(light, grid, wavelength, distance), pixel), wished).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    height = one_turn(phase.detach().double()) / (2 * math.pi) * tallest
    mask = Mask.from_height(
        height.squeeze(-3).float(), pitch=pitch, material=material, wavelength=wavelength, distance=distance
    )
    design = MaskDesign(mask, gain, pixel, torch.tensor(()), torch.tensor(()))
    got = design.psf()
    size = kernels.shape[-1]
    first = got.shape[-1] // 2 - size // 2
    inside = got[..., first : first + size, first : first + size]
    # the gains are digital, hence free: let them make up for the light beside the kernel
    fit = (got * wished).sum(dim=(-3, -2, -1)) / got.square().sum(dim=(-3, -2, -1))
    return replace(
        design, gain=gain * fit, efficiency=inside.sum(dim=(-3, -2, -1)), error=_error(got, wished)
    )


def _in_window(psf: torch.Tensor, pixels: int) -> torch.Tensor:
    """The wished PSF with darkness around it, out to the window's edge, axis on axis."""
    size = psf.shape[-1]
    if pixels < size:
        raise InvalidArgument(
            "samples", f"a window of at least the kernel's {size} pixels", f"{pixels} pixels"
        )
    before = pixels // 2 - size // 2
    after = pixels - size - before
    return torch.nn.functional.pad(psf, (before, after, before, after))


def _error(got: torch.Tensor, wished: torch.Tensor) -> torch.Tensor:
    """Relative L2 distance of PSFs, over the window."""
    axes = (-3, -2, -1)
    return ((got - wished).square().sum(axes) / wished.square().sum(axes)).sqrt()
