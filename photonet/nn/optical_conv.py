"""The optical frontend: a convolution whose kernels are point spread functions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .. import checks
from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from ..ntk.convolution import box_means, conv_factor
from ..ntk.correlate import ConvGeometry
from ..ntk.factors import Correlation
from ..optics.imaging import image_by_kernels

__all__ = ["OpticalConv2d", "merge_signed", "replace_optics", "split_signed"]


def split_signed(kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two non-negative unit-power PSFs and their digital gains, from a signed kernel.

    Light cannot be negative, so a signed kernel is measured twice: behind an optic whose PSF is the
    positive part and behind one whose PSF is the negative part. Each PSF carries unit power, whatever
    the kernel's scale (an optic spends all its light); the scale returns as a gain at the subtraction.

    Args:
        kernel: [k, c, y, x], signed.

    Returns:
        PSFs [2, k, c, y, x] with sum 1 over (c, y, x) (0 where the part is empty), gains [2, k].

    Raises:
        InvalidArgument: a kernel of other axes, or of other numbers.

    Example:
        >>> psf, gain = split_signed(torch.tensor([[[[3.0, -1.0, 1.0]]]]))
        >>> psf[0, 0, 0].tolist(), gain[:, 0].tolist()
        ([[0.75, 0.0, 0.25]], [4.0, 1.0])
    """
    if (
        checks.instance("kernel", kernel, torch.Tensor, "a tensor").ndim != 4
        or not kernel.is_floating_point()
    ):
        got = f"shape {tuple(kernel.shape)} of {kernel.dtype}"
        raise InvalidArgument("kernel", "real numbers with the axes [k, c, y, x]", got)
    parts = torch.stack([kernel.clamp(min=0), (-kernel).clamp(min=0)])
    gain = parts.sum(dim=(-3, -2, -1))
    safe = torch.where(gain > 0, gain, torch.ones_like(gain))
    return parts / safe[..., None, None, None], gain


def merge_signed(psf: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """The signed kernel that two PSFs and their digital gains act as; the inverse of `split_signed`.

    Args:
        psf: [..., 2, k, c, y, x], the positive and the negative captures.
        gain: [..., 2, k].

    Returns:
        [..., k, c, y, x].

    Raises:
        InvalidArgument: PSFs without their five axes, or complex ones.
        GridMismatch: gains of another number.

    Example:
        >>> kernel = torch.randn(4, 1, 7, 7)
        >>> torch.allclose(merge_signed(*split_signed(kernel)), kernel)
        True
    """
    for name, value in (("psf", psf), ("gain", gain)):
        checks.instance(name, value, torch.Tensor, "a tensor")
    if psf.ndim < 5 or psf.shape[-5] != 2 or psf.is_complex():
        got = f"shape {tuple(psf.shape)} of {psf.dtype}"
        raise InvalidArgument("psf", "real numbers with the axes [..., 2, k, c, y, x]", got)
    if gain.shape[-2:] != psf.shape[-5:-3]:
        raise GridMismatch("gain", f"axes [..., 2, {psf.shape[-4]}], as the PSFs have", tuple(gain.shape))
    scaled = psf * gain[..., None, None, None]
    return scaled.select(-5, 0) - scaled.select(-5, 1)


class OpticalConv2d(nn.Module):
    r"""Convolution by light: every output channel is the difference of two incoherent images.

    The layer holds signed kernels; `psf` gives the pairs of non-negative point spread functions that
    realise them. Without noise the difference of the two captures equals one convolution with the
    signed kernel, which is what `forward` computes. After a mask has been designed or measured,
    `set_kernels` puts the PSFs that the optics really have in place of the wished ones.

    Args:
        in_channels: colours of the scene.
        out_channels: signed kernels; the optic needs twice as many PSFs.
        kernel_size: pixels along each axis, odd (a kernel with a middle).
        binning: sensor pixels averaged into one feature, along each axis.

    Shape:
        [n, in_channels, y, x] -> [n, out_channels, y / binning, x / binning].

    Raises:
        InvalidArgument: an even kernel, or counts below one.

    Example:
        >>> layer = OpticalConv2d(1, 8, kernel_size=7, binning=4)
        >>> layer(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, binning: int = 1) -> None:
        super().__init__()
        checks.count("in_channels", in_channels)
        checks.count("out_channels", out_channels)
        self.binning = checks.count("binning", binning)
        if checks.count("kernel_size", kernel_size) % 2 == 0:
            raise InvalidArgument(
                "kernel_size", "an odd number, so that the kernel has a middle", kernel_size
            )
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, scene: torch.Tensor) -> torch.Tensor:
        """Signed feature maps of the scenes."""
        return image_by_kernels(scene, self.weight, self.binning)

    def psf(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit-power PSFs [2, k, c, y, x] and digital gains [2, k] that realise the kernels."""
        return split_signed(self.weight)

    def set_kernels(self, kernels: Any) -> None:
        """Replace the kernels by those of a real optic [k, c, y, x]; their size may differ.

        Raises:
            InvalidArgument: kernels of another number, or that are not finite real numbers.
        """
        kernels = as_tensor("kernels", kernels)
        if kernels.ndim != 4 or kernels.shape[:2] != self.weight.shape[:2] or kernels.is_complex():
            raise InvalidArgument(
                "kernels",
                f"shape [{self.weight.shape[0]}, {self.weight.shape[1]}, y, x] of real numbers",
                f"{tuple(kernels.shape)} of {kernels.dtype}",
            )
        trainable = self.weight.requires_grad
        self.weight = nn.Parameter(kernels.detach().to(self.weight).clone(), requires_grad=trainable)

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        k, c, y, x = self.weight.shape
        return f"{c}, {k}, kernel_size=({y}, {x}), binning={self.binning}"

    def ntk_factors(self, scene: torch.Tensor, delta: torch.Tensor) -> dict[str, Correlation]:
        """Per-sample gradients of the kernels, the extension point of `photonet.ntk.layers`.

        Args:
            scene: [n, c, y, x], the layer's input.
            delta: [n, m, k, v, u], gradients of m output directions at the layer's output.

        Returns:
            The factor of ``weight``.
        """
        ky, kx = self.weight.shape[-2:]
        bins = (self.binning, self.binning)
        padded = F.pad(scene, (kx - 1 - kx // 2, kx // 2, ky - 1 - ky // 2, ky // 2))
        seen = box_means(padded, bins)  # a weight sees the mean over each bin of the scene beneath it
        geometry = ConvGeometry((ky, kx), stride=bins, dilation=(1, 1), mirrored=True)
        return {"weight": conv_factor(seen, delta, geometry)}


def replace_optics(front: nn.Module, other: Callable[[OpticalConv2d], nn.Module]) -> nn.Module:
    """A frontend with something else in the place of each `OpticalConv2d`.

    Args:
        front: a module; it stays as it is.
        other: what stands for a layer.

    Returns:
        New containers around what ``other`` gives; all other modules are shared with ``front``.

    Example:
        >>> front = nn.Sequential(nn.AvgPool2d(2), OpticalConv2d(3, 4, 5))
        >>> digital = replace_optics(front, lambda layer: nn.Conv2d(3, 4, 5, padding=2))
        >>> [type(part).__name__ for part in digital], digital[0] is front[0]
        (['AvgPool2d', 'Conv2d'], True)
    """
    if isinstance(front, OpticalConv2d):
        return other(front)
    if not any(isinstance(part, OpticalConv2d) for part in front.modules()):
        return front
    changed = copy.copy(front)
    for name, value in vars(front).items():  # buffers, hooks: what is added to one is not added to the other
        if isinstance(value, dict):
            vars(changed)[name] = value.copy()
    changed._modules = {
        name: None if part is None else replace_optics(part, other) for name, part in front._modules.items()
    }
    return changed
