"""A screen in front of the optic: what it sends into the mask, and its image on the sensor."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..grid import Grid, overlap
from ..precision import full_precision
from .propagate import check_field
from .psf import convolve, psf
from .scalars import scalar
from .varying import hats

__all__ = ["collected_power", "image_display"]


def collected_power(
    exitance: torch.Tensor, screen: Grid, aperture: Grid, object_distance: Any, *, order: Any = 1.0
) -> torch.Tensor:
    """Power in W that each pixel of a screen sends into the window of a mask.

    A pixel of area a at angle theta sends ``M a (order + 1) / (2 pi) cos(theta)^(order + 3) A / d^2`` into a
    window of area A that is small against its distance d: ``cos^order`` is the pixel's intensity, one more
    cosine the window's, two the longer way. Lambert's law has order 1, which gives the fourth power of the
    cosine (Born and Wolf, Principles of Optics, 7th ed., section 4.8.2); an LED's half angle h at half
    intensity gives ``order = -ln 2 / ln cos h``.

    Args:
        exitance: of the pixels in W/m^2, real [..., y, x] on ``screen``.
        screen: samples of the screen: one for each of its pixels.
        aperture: samples of the mask; angles are those to its centre.
        object_distance: from screen to mask in m, positive; may require a gradient.
        order: of the emission.

    Returns:
        Real [..., y, x] in W.

    Raises:
        GridMismatch: an exitance that does not lie on ``screen``.
        InvalidArgument: a negative exitance, a distance that is not positive, a negative order.

    Example:
        >>> light = collected_power(torch.ones(1, 1), Grid(1, 1e-4), Grid(100, 1e-5), 0.1)
        >>> round(float(light) / (1e-8 * 1e-6 / (math.pi * 0.1**2)), 6)
        1.0
    """
    checks.instance("screen", screen, Grid, "a photonet.Grid")
    checks.instance("aperture", aperture, Grid, "a photonet.Grid")
    checks.instance("exitance", exitance, torch.Tensor, "a real tensor [..., y, x]")
    if exitance.ndim < 2 or tuple(exitance.shape[-2:]) != screen.shape:
        raise GridMismatch("exitance", f"the screen's pixels {screen.shape}", tuple(exitance.shape))
    if exitance.is_complex() or not bool((exitance >= 0).all()):
        got = "complex, negative or undefined values"
        raise InvalidArgument("exitance", "real values of at least 0 W/m^2", got)
    device = exitance.device
    d = scalar(
        "object_distance", object_distance, "a positive length in m", check=checks.positive, device=device
    )
    m = scalar("order", order, "an order of at least 0", check=checks.non_negative, device=device)
    y, x = screen.mesh(device)
    y, x = y - aperture.centre[0], x - aperture.centre[1]
    cosine = d / (y**2 + x**2 + d**2).sqrt()
    area = aperture.extent[0] * aperture.extent[1]
    share = (m + 1) / (2 * math.pi) * cosine ** (m + 3) * area / d**2 * screen.cell
    return exitance * share.to(exitance)


def image_display(
    exitance: torch.Tensor,
    screen: Grid,
    transmission: torch.Tensor,
    grid: Grid,
    wavelength: Any,
    object_distance: Any,
    distance: Any,
    *,
    output: Grid | None = None,
    order: Any = 1.0,
    patches: Any = 1,
    method: str = "auto",
    strict: bool = False,
) -> torch.Tensor:
    r"""The irradiance that a screen causes on a sensor, through a mask between the two.

    Pixels emit without knowing of each other, so the image is the geometric one, upside down and
    ``distance / object_distance`` times as large, convolved with the point spread function of the mask for a
    point at the screen's distance:

    .. math:: E(r) = \int \mathrm{PSF}(r - r')\, \frac{\Phi(-r'/m)}{(m p)^2}\, d^2r',
        \qquad m = \frac{\text{distance}}{\text{object distance}}

    with the power :math:`\Phi` of `collected_power` from a pixel of pitch p. Every pixel of the geometric
    image is spread over the samples it covers, by area. Source: Goodman, Introduction to Fourier Optics,
    3rd ed., section 6.1 and eq. (6-15).

    Args:
        exitance: of the pixels in W/m^2, real [..., L, y, x] on ``screen``.
        screen: samples of the screen, one for each of its pixels.
        transmission: complex amplitude transmission [..., L, y, x] of the mask on ``grid``; its leading axes
            broadcast with those of the exitance.
        grid: samples of the mask.
        wavelength: in m, [L].
        object_distance: screen to mask in m, positive.
        distance: mask to sensor in m, positive.
        output: samples of the sensor, ``grid`` when None; fine enough for the PSF, which is as wide.
        order: of the emission; see `collected_power`.
        patches: points (y, x) of the field at which the PSF is computed, over the screen's image and blended
            linearly in between; 1 takes the PSF of the axis everywhere (an isoplanatic optic).
        method, strict: as in `propagate`.

    Returns:
        Real [..., L, y, x] in W/m^2 on ``output``. All distances, the wavelength, the exitance and the
        transmission may require gradients.

    Raises:
        GridMismatch: an exitance or a transmission that does not lie on its grid.
        InvalidArgument: distances that are not positive, patches below one, a negative exitance.
        As `propagate`.

    Example:
        >>> mask, screen = Grid(64, 2e-6), Grid(3, 50e-6)
        >>> pixels = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]])
        >>> y, x = mask.mesh()
        >>> lens = torch.exp(-1j * math.pi * (y**2 + x**2) / 525e-9 / 1e-3)[None]
        >>> image = image_display(pixels, screen, lens, mask, 525e-9, 4e-3, 4e-3 / 3)
        >>> [int(i) - 32 for i in (image[0].argmax() // 64, image[0].argmax() % 64)]  # 50 um / 3 / 2 um
        [8, 8]
    """
    waves = checks.wavelength(wavelength)
    check_field(transmission, grid, waves, "transmission")
    checks.instance("exitance", exitance, torch.Tensor, "a real tensor [..., L, y, x]")
    target = checks.instance("output", grid if output is None else output, Grid, "a photonet.Grid")
    points = tuple(checks.count("patches", p) for p in checks.pair("patches", patches))
    what = "a positive length in m"
    d, z = (
        scalar(name, value, what, check=checks.positive, device=exitance.device)
        for name, value in (("object_distance", object_distance), ("distance", distance))
    )
    if exitance.ndim < 3 or exitance.shape[-3] not in (1, len(waves)):
        raise GridMismatch("exitance", f"axes [..., {len(waves)}, y, x]", tuple(exitance.shape))
    power = collected_power(exitance, screen, grid, d, order=order)
    # light of points whose geometric image lies outside reaches in by half a PSF
    margin = [n // 2 + 1 for n in target.shape]
    wide = Grid([n + 2 * h for n, h in zip(target.shape, margin, strict=True)], target.pitch, target.centre)
    ratio = z / d
    rows, columns = (
        (overlap(-source.to(d.device) * ratio, p * ratio, place.to(d.device), q) / (p * ratio)).to(power)
        for source, p, place, q in zip(
            (screen.y, screen.x), screen.pitch, (wide.y, wide.x), wide.pitch, strict=True
        )
    )
    with full_precision(power):
        scene = rows @ power @ columns.mT / wide.cell

    def spread(y: float, x: float) -> torch.Tensor:
        window = Grid(target.shape, target.pitch, (y, x))
        place = (-y / ratio, -x / ratio)
        return psf(
            transmission,
            grid,
            waves,
            z,
            source=d,
            position=place,
            output=window,
            method=method,
            strict=strict,
        )

    (ys, down), (xs, across) = (
        _lattice(axis, n, shares)
        for axis, n, shares in zip((wide.y, wide.x), points, (rows, columns), strict=True)
    )
    image = scene.new_zeros(())
    for y, row in zip(ys, down, strict=True):
        for x, column in zip(xs, across, strict=True):
            image = image + convolve(scene * row[:, None] * column, spread(y, x))
    inside = [slice(h, h + n) for h, n in zip(margin, target.shape, strict=True)]
    return image[..., inside[0], inside[1]].clamp_min(0)


def _lattice(axis: torch.Tensor, points: int, shares: torch.Tensor) -> tuple[list[float], torch.Tensor]:
    """Field points along one axis of the scene, and what each takes of its samples.

    The points spread from the first to the last sample on which the screen has an image: light from beyond
    may be steeper on the mask than its pitch can hold, and its wrong PSF would be blended in. On samples they
    do not move with the distances, so gradients see all that depends on these. One point is on the axis.

    Args:
        axis: positions of the scene's samples in m.
        points: how many.
        shares: of the screen's pixels in the samples, [samples, pixels]; darkness where all are zero.
    """
    if points == 1:
        return [0.0], shares.new_ones(1, len(axis))
    lit = shares.detach().sum(1).nonzero().flatten().tolist() or [0]
    first, last = lit[0], lit[-1]
    positions = torch.linspace(float(axis[first]), float(axis[last]), points, dtype=torch.float64)
    return positions.tolist(), hats(len(axis), points, shares, (first, last))
