"""Incoherent imaging with compact kernels: the multichannel convolution that a hybrid network starts with.

`photonet.optics.psf` treats a whole plane by FFT; here the point spread functions are a few pixels wide
and there are many of them, so a direct convolution is faster, and the sensor's binning is folded in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .. import checks
from ..errors import GridMismatch, InvalidArgument

__all__ = ["bin_kernel", "image_by_kernels"]


def bin_kernel(kernel: torch.Tensor, binning: int) -> torch.Tensor:
    """The kernel that, applied once per bin, gives the mean over ``binning`` x ``binning`` pixels.

    Convolution and binning are both linear, so they commute into one kernel of ``k + binning - 1``
    samples: ``binning**2`` times fewer products.

    Args:
        kernel: [..., ky, kx].
        binning: pixels per bin along each axis.

    Returns:
        [..., ky + binning - 1, kx + binning - 1], with the same sum as ``kernel``.

    Example:
        >>> bin_kernel(torch.ones(1, 1), 2)
        tensor([[0.2500, 0.2500],
                [0.2500, 0.2500]])
    """
    if binning == 1:
        return kernel
    margin = binning - 1
    flat = F.pad(kernel.reshape(-1, *kernel.shape[-2:]), (margin, margin, margin, margin))
    wide = F.avg_pool2d(flat, binning, stride=1)  # three times faster than a convolution of so few channels
    return wide.reshape(*kernel.shape[:-2], *wide.shape[-2:])


def image_by_kernels(scene: torch.Tensor, kernels: torch.Tensor, binning: int = 1) -> torch.Tensor:
    r"""Irradiance behind an array of incoherent imaging channels, averaged over sensor bins.

    .. math:: y_k(r) = \sum_c \sum_u K_{kc}(u)\, x_c(r - u)

    A true convolution (a point in the scene becomes the kernel, not its mirror image), with darkness
    around the scene and the kernel's axis at sample ``(ky // 2, kx // 2)``. Source: linear systems
    theory of incoherent imaging, Goodman, Introduction to Fourier Optics, section 6.3.

    Args:
        scene: [n, c, y, x] irradiance of the geometric image.
        kernels: [k, c, ky, kx]; non-negative for a PSF, signed for a difference of two.
        binning: sensor pixels per bin along each axis; must divide y and x of the scene.

    Returns:
        [n, k, y / binning, x / binning].

    Raises:
        GridMismatch: the number of colour channels differs.
        InvalidArgument: a wrong number of axes, a binning that does not divide the scene, or a scene that is
            no floating-point light of the kernels' precision.

    Example:
        >>> point = torch.zeros(1, 1, 5, 5)
        >>> point[0, 0, 2, 2] = 1.0
        >>> kernel = torch.rand(1, 1, 3, 3)
        >>> torch.equal(image_by_kernels(point, kernel)[0, 0, 1:4, 1:4], kernel[0, 0])
        True
    """
    binning = checks.count("binning", binning)
    if scene.ndim != 4:
        raise InvalidArgument("scene", "axes [n, channels, y, x]", f"shape {tuple(scene.shape)}")
    if kernels.ndim != 4:
        raise InvalidArgument("kernels", "axes [k, channels, y, x]", f"shape {tuple(kernels.shape)}")
    if scene.shape[1] != kernels.shape[1]:
        raise GridMismatch(
            "scene", f"{kernels.shape[1]} colour channels, as the kernels have", f"{scene.shape[1]}"
        )
    if scene.shape[-2] % binning or scene.shape[-1] % binning:
        raise InvalidArgument(
            "scene", f"rows and columns in multiples of {binning}, the binning", f"{tuple(scene.shape[-2:])}"
        )
    if not scene.is_floating_point():
        hint = "divide bytes by 255" if scene.dtype == torch.uint8 else "see torch.Tensor.float"
        raise InvalidArgument("scene", "floating-point irradiance", f"{scene.dtype}", hint)
    if scene.dtype != kernels.dtype and not torch.is_autocast_enabled(scene.device.type):
        raise InvalidArgument(
            "scene", f"{kernels.dtype}, as the kernels have", f"{scene.dtype}", "see Tensor.to"
        )
    ky, kx = kernels.shape[-2:]
    # torch correlates, so the kernel is mirrored; an even kernel has one sample more before its axis
    flipped = bin_kernel(kernels.flip(-2, -1), binning)
    before_y, before_x = ky - 1 - ky // 2, kx - 1 - kx // 2
    padding: tuple[int, int] = (before_y, before_x)
    if ky % 2 == 0 or kx % 2 == 0:
        scene = F.pad(scene, (before_x, kx // 2, before_y, ky // 2))
        padding = (0, 0)
    return F.conv2d(scene, flipped, stride=binning, padding=padding)
