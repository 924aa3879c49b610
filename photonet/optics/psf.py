"""Incoherent imaging: the point spread function of a mask, and the convolution of a scene with it."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from ..transforms import numbers
from .fourier import fast_length
from .irradiance import irradiance as squared
from .plan import plan
from .propagate import check_field, propagate
from .sampling import announce, too_steep
from .scalars import plain, scalar
from .sources import point_source

__all__ = ["bin_pixels", "convolve", "psf", "shift"]


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
        distance: mask to image plane in m; zero gives the light right behind the mask.
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
        InvalidArgument: a position without a distance, a point in the plane of the mask.
        GridMismatch: a transmission that does not lie on ``grid``.
        SamplingError: with ``strict``, a point whose light is too steep for the pitch. And as `propagate`.

    Warns:
        SamplingWarning: more than 1 % of the light of a near point is too steep for the pitch of the mask.

    Example:
        >>> grid = Grid(64, 2e-6)
        >>> image = psf(torch.ones(1, 64, 64, dtype=torch.complex128), grid, 525e-9, 1e-4)
        >>> 0.9 < float(image.sum()) < 1
        True
    """
    waves = checks.wavelength(wavelength)
    check_field(transmission, grid, waves, "transmission")
    if source is None and any(float(plain(p)) for p in checks.pair("position", position)):
        raise InvalidArgument(
            "position", "the distance of the point as well", position, "pass source, or tilt the transmission"
        )
    incident = grid.cell * grid.shape[0] * grid.shape[1]
    if source is not None:
        d = scalar("source", source, "a finite length in m, not zero", zero=False)
        wave = point_source(grid, wavelength, distance=d, position=position, envelope=True)
        wave = wave / squared(wave).mean((-2, -1), keepdim=True).sqrt()
        transmission = transmission * wave.to(transmission)
        _check_point(transmission, grid, waves, distance, source, position, output, method, strict)
    u = propagate(
        transmission, grid, wavelength, distance, output=output, method=method, carrier=False, strict=strict
    )
    return squared(u) * ((output or grid).cell / incident)


def _check_point(
    u: torch.Tensor,
    grid: Grid,
    waves: torch.Tensor,
    distance: Any,
    source: Any,
    position: Any,
    output: Grid | None,
    method: str,
    strict: bool,
) -> None:
    """Say when the light of a near point is too steep for the pitch of the mask."""
    place, d = [float(plain(p)) for p in checks.pair("position", position)], float(plain(source))
    reach = plan(grid, waves, distance, output, method=method).reach
    part = too_steep(u, grid, numbers(waves), d, (place[0], place[1]), reach)
    what = f"of the light of a point at ({place[0]:.3g}, {place[1]:.3g}) m, {abs(d):.3g} m before the mask"
    remedy = "a finer pitch of the mask, or a point further away or nearer to its axis, would hold"
    announce(part, f"{part:.1%} {what}, is too steep for its pitch", remedy, strict)


def convolve(scene: torch.Tensor, psf: torch.Tensor) -> torch.Tensor:
    """Image a scene incoherently: linear convolution with a PSF whose axis is sample (N//2, N//2).

    Args:
        scene: real [..., y, x].
        psf: real [..., v, u]; leading axes broadcast with those of the scene.

    Raises:
        InvalidArgument: tensors that are complex, empty, of half precision, or do not broadcast.

    Returns:
        Real [..., y, x] of the scene's size: a PSF that is one at its axis sample and zero elsewhere
        gives the scene back. Rounding leaves up to -1e-16 (single: -1e-7) of the largest value.

    Example:
        >>> scene, dot = torch.rand(3, 8, 9, dtype=torch.float64), torch.zeros(5, 4, dtype=torch.float64)
        >>> dot[2, 2] = 1
        >>> torch.allclose(convolve(scene, dot), scene)
        True
    """
    both = {"scene": scene, "psf": psf}
    for name, picture in both.items():
        checks.instance(name, picture, torch.Tensor, "a real tensor [..., y, x]")
    got = ", ".join(f"{picture.dtype} {tuple(picture.shape)}" for picture in both.values())
    if any(p.is_complex() or p.ndim < 2 or p.numel() == 0 for p in both.values()):
        raise InvalidArgument("scene and psf", "real tensors [..., y, x] that are not empty", got)
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in both.values()):
        raise InvalidArgument("scene and psf", "single or double precision", got, "pass .float()")
    if any(a != b and 1 not in (a, b) for a, b in zip(scene.shape[-3::-1], psf.shape[-3::-1], strict=False)):
        raise InvalidArgument("scene and psf", "leading axes that broadcast", got)
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
        InvalidArgument: a factor below 1, a window smaller than one pixel, or less than two axes.

    Example:
        >>> x = torch.zeros(9, 9); x[4, 4] = 1
        >>> bin_pixels(x, 3)[1].tolist()
        [0.0, 1.0, 0.0]
    """
    factor = checks.count("factor", factor)
    if checks.instance("irradiance", irradiance, torch.Tensor, "a tensor [..., y, x]").ndim < 2:
        raise InvalidArgument("irradiance", "the axes [..., y, x]", f"shape {tuple(irradiance.shape)}")
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


def shift(irradiance: torch.Tensor, dy: Any, dx: Any) -> torch.Tensor:
    """Move a picture by fractions of a sample, from i to i + shift (band-limited, periodic).

    Args:
        irradiance: real [..., y, x].
        dy: samples along y: a number, or a tensor that broadcasts with the leading axes; differentiable.
        dx: samples along x.

    Returns:
        Real [..., y, x]. The sum is kept. Sharp edges ring, as band-limited interpolation does.

    Raises:
        InvalidArgument: a shift that is not finite, a picture that is not real and of single or double
            precision.
        GridMismatch: shifts that do not broadcast with the leading axes.

    Example:
        >>> x = torch.zeros(8, 8, dtype=torch.float64); x[4, 4] = 1
        >>> shift(x, 1, -2)[5, 2].round(decimals=12).item()
        1.0
    """
    ny, nx = checks.pictures("irradiance", irradiance).shape[-2:]
    dtype, device = irradiance.dtype, irradiance.device
    fy = torch.fft.fftfreq(ny, dtype=dtype, device=device)
    fx = torch.fft.rfftfreq(nx, dtype=dtype, device=device)
    dy, dx = (
        checks.finite(name, d) if isinstance(d, torch.Tensor) else checks.real(name, d)
        for name, d in (("dy", dy), ("dx", dx))
    )
    for name, d in (("dy", dy), ("dx", dx)):
        if isinstance(d, torch.Tensor):
            checks.broadcasts(name, d, irradiance[..., 0, 0], "the leading axes")
    ramp_y = _ramp(fy, torch.as_tensor(dy, dtype=dtype, device=device), ny)
    ramp_x = _ramp(fx, torch.as_tensor(dx, dtype=dtype, device=device), nx)
    spectrum = torch.fft.rfft2(irradiance) * ramp_y[..., :, None] * ramp_x[..., None, :]
    return torch.fft.irfft2(spectrum, s=(ny, nx))


def _ramp(f: torch.Tensor, shift: torch.Tensor, n: int) -> torch.Tensor:
    angle = -2 * torch.pi * f * shift[..., None]
    ramp = torch.polar(torch.ones_like(angle), angle)
    # the Nyquist sample of an even length stands for both signs: only its real part can be kept
    return torch.where(f.abs() * 2 == 1, ramp.real.to(ramp.dtype), ramp) if n % 2 == 0 else ramp
