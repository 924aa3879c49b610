"""Incoherent imaging: the point spread function of a mask, and the convolution of a scene with it."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from .fourier import fast_length
from .irradiance import irradiance as squared
from .propagate import propagate
from .sources import point_source

__all__ = ["bin_pixels", "convolve", "psf", "shift", "signed"]


def psf(
    transmission: torch.Tensor,
    grid: Grid,
    wavelength: Any,
    distance: Any,
    *,
    source: Any = None,
    position: Any = (0.0, 0.0),
    output: Grid | None = None,
    method: str = "auto",
    strict: bool = False,
) -> torch.Tensor:
    """The irradiance behind a mask in the light of a point: its point spread function.

    Args:
        transmission: complex amplitude transmission [..., L, y, x] on ``grid``.
        grid: samples of the mask.
        wavelength: in m, one value or [L].
        distance: mask to image plane in m.
        source: distance of the point before the mask in m; None for one so far away that its light is
            a plane wave.
        position: (y, x) of a near point in m; its geometric image lies at ``-distance / source`` of that,
            where ``output`` should look.
        output: samples of the image plane, ``grid`` when None.
        method, strict: as in `propagate`.

    Returns:
        Real [..., L, y, x]: the fraction of the power incident on ``grid`` that arrives in each
        sample. The sum is the fraction that lands in the window.

    Raises:
        As `propagate`.

    Example:
        >>> grid = Grid(64, 2e-6)
        >>> image = psf(torch.ones(1, 64, 64, dtype=torch.complex128), grid, 525e-9, 1e-4)
        >>> 0.9 < float(image.sum()) < 1
        True
    """
    incident = grid.cell * grid.shape[0] * grid.shape[1]
    if source is not None:
        wave = point_source(grid, wavelength, distance=source, position=position, envelope=True)
        wave = wave / squared(wave).mean((-2, -1), keepdim=True).sqrt()
        transmission = transmission * wave.to(transmission)
    u = propagate(
        transmission, grid, wavelength, distance, output=output, method=method, carrier=False, strict=strict
    )
    return squared(u) * ((output or grid).cell / incident)


def convolve(scene: torch.Tensor, psf: torch.Tensor) -> torch.Tensor:
    """Image a scene incoherently: linear convolution with a PSF whose axis is sample (N//2, N//2).

    Args:
        scene: real [..., y, x].
        psf: real [..., v, u]; leading axes broadcast with those of the scene.

    Returns:
        Real [..., y, x] of the scene's size: a PSF that is one at its axis sample and zero elsewhere
        gives the scene back. Rounding leaves up to -1e-16 (single: -1e-7) of the largest value.

    Example:
        >>> scene, dot = torch.rand(3, 8, 9, dtype=torch.float64), torch.zeros(5, 4, dtype=torch.float64)
        >>> dot[2, 2] = 1
        >>> torch.allclose(convolve(scene, dot), scene)
        True
    """
    if scene.is_complex() or psf.is_complex() or scene.ndim < 2 or psf.ndim < 2:
        raise InvalidArgument(
            "scene and psf",
            "real tensors [..., y, x]",
            f"{scene.dtype} {tuple(scene.shape)}, {psf.dtype} {tuple(psf.shape)}",
        )
    middle = [n // 2 for n in psf.shape[-2:]]
    size = [fast_length(n + m - 1) for n, m in zip(scene.shape[-2:], psf.shape[-2:], strict=True)]
    full = torch.fft.irfft2(torch.fft.rfft2(scene, s=size) * torch.fft.rfft2(psf, s=size), s=size)
    return full[..., middle[0] : middle[0] + scene.shape[-2], middle[1] : middle[1] + scene.shape[-1]]


def bin_pixels(irradiance: torch.Tensor, factor: int) -> torch.Tensor:
    """Sum blocks of ``factor`` x ``factor`` samples into camera pixels.

    For an odd factor the axis sample (N//2, N//2) is the middle of the axis pixel (M//2, M//2). For an
    even factor no sample can be in the middle: the axis sample is the one right after it, so the axis
    pixel reaches ``factor/2`` samples before and ``factor/2 - 1`` after. Pixels that would stick out of the
    window are left out.

    Args:
        irradiance: [..., y, x].
        factor: samples per pixel and axis.

    Returns:
        [..., M_y, M_x], M odd or even as fits.

    Raises:
        InvalidArgument: a factor below 1, or a window smaller than one pixel.

    Example:
        >>> x = torch.zeros(9, 9); x[4, 4] = 1
        >>> bin_pixels(x, 3)[1].tolist()
        [0.0, 1.0, 0.0]
    """
    factor = checks.count("factor", factor)
    spans = []
    for n in irradiance.shape[-2:]:
        first = n // 2 - factor // 2  # of the axis pixel
        before, after = first // factor, (n - first) // factor - 1  # whole pixels on either side
        # axis pixel M//2: as many before as after, or one more before
        before = min(before, after + 1)
        after = min(after, before)
        if first < 0 or after < 0:
            raise InvalidArgument("factor", f"at most the window, {n} samples", factor)
        spans.append((first - before * factor, before + after + 1))
    (y, my), (x, mx) = spans
    block = irradiance[..., y : y + my * factor, x : x + mx * factor]
    return block.unflatten(-1, (mx, factor)).unflatten(-3, (my, factor)).sum((-3, -1))


def signed(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """A signed kernel from two PSFs, which light itself cannot have: ``positive - negative``.

    Args:
        positive: PSF of the mask for the positive part.
        negative: PSF of the mask for the negative part, of the same shape.

    Example:
        >>> signed(torch.ones(2, 2), torch.eye(2)).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    if positive.shape != negative.shape:
        raise InvalidArgument(
            "negative", f"the shape of positive, {tuple(positive.shape)}", tuple(negative.shape)
        )
    return positive - negative


def shift(irradiance: torch.Tensor, dy: Any, dx: Any) -> torch.Tensor:
    """Move a picture by fractions of a sample, from i to i + shift (band-limited, periodic).

    Args:
        irradiance: real [..., y, x].
        dy: samples along y: a number, or a tensor that broadcasts with the leading axes; differentiable.
        dx: samples along x.

    Returns:
        Real [..., y, x]. The sum is kept. Sharp edges ring, as band-limited interpolation does.

    Example:
        >>> x = torch.zeros(8, 8, dtype=torch.float64); x[4, 4] = 1
        >>> shift(x, 1, -2)[5, 2].round(decimals=12).item()
        1.0
    """
    ny, nx = irradiance.shape[-2:]
    dtype, device = irradiance.dtype, irradiance.device
    fy = torch.fft.fftfreq(ny, dtype=dtype, device=device)
    fx = torch.fft.rfftfreq(nx, dtype=dtype, device=device)
    ramp_y = _ramp(fy, torch.as_tensor(dy, dtype=dtype, device=device), ny)
    ramp_x = _ramp(fx, torch.as_tensor(dx, dtype=dtype, device=device), nx)
    spectrum = torch.fft.rfft2(irradiance) * ramp_y[..., :, None] * ramp_x[..., None, :]
    return torch.fft.irfft2(spectrum, s=(ny, nx))


def _ramp(f: torch.Tensor, shift: torch.Tensor, n: int) -> torch.Tensor:
    angle = -2 * torch.pi * f * shift[..., None]
    ramp = torch.polar(torch.ones_like(angle), angle)
    # the Nyquist sample of an even length stands for both signs: only its real part can be kept
    return torch.where(f.abs() * 2 == 1, ramp.real.to(ramp.dtype), ramp) if n % 2 == 0 else ramp
