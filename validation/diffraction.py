"""Textbook diffraction, imaging and coherence, and LightPipes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy import special

from photonet import Grid
from photonet.optics import (
    blazed_grating,
    circular_aperture,
    gaussian_beam,
    hermite_beam,
    ideal_lens,
    irradiance,
    levels,
    plane_wave,
    propagate,
    psf,
    quadratic_lens,
    rectangular_aperture,
    rotate_plane,
    wavefront,
    zone_plate,
)

from . import Skip, case
from .optics import relative

WAVE = 633e-9


@case("Hermite beam (3, 2) over 50 mm, paraxial", reference="closed form", bound=1e-10)
def hermite() -> float:
    grid = Grid(256, 10e-6)
    there = propagate(
        hermite_beam(grid, WAVE, waist=150e-6, order=(3, 2)), grid, WAVE, 50e-3, method="fresnel"
    )
    return relative(there, hermite_beam(grid, WAVE, waist=150e-6, order=(3, 2), distance=50e-3))


def _single(distance: float) -> float:
    """Gradient of the light in an off-axis disc, single against double precision."""
    grid, gradients = Grid(512, 10e-6), []
    y, x = grid.mesh()
    disc = ((x - 2e-4) ** 2 + y**2 < (5e-4) ** 2).double()
    for dtype in (torch.complex128, torch.complex64):
        u = gaussian_beam(grid, WAVE, waist=200e-6).to(dtype).requires_grad_()
        (irradiance(propagate(u, grid, WAVE, distance)) * disc).sum().backward()
        gradients.append(u.grad)
    return relative(gradients[1].to(torch.complex128), gradients[0])


@case("gradient in single precision, angular spectrum, 0.1 m", reference="double precision", bound=3e-7)
def single_near() -> float:
    return _single(0.1)


@case("gradient in single precision, Rayleigh-Sommerfeld, 1 m", reference="double precision", bound=3e-7)
def single_far() -> float:
    return _single(1.0)


@case("square aperture 1 mm over 100 mm: irradiance", reference="Fresnel integrals", bound=2e-2)
def square() -> float:
    """Relative L2. What is left is the part of the edge waves that a pitch of 4 um cannot hold."""
    grid, side, z = Grid(512, 4e-6), 1e-3, 0.1
    found = irradiance(propagate(rectangular_aperture(grid, side)[None] + 0j, grid, WAVE, z))[0]
    scale = math.sqrt(2 / (WAVE * z))
    s, c = special.fresnel(scale * (grid.x.numpy()[:, None] + np.array([side / 2, -side / 2])))
    line = torch.from_numpy(np.abs((c[:, 0] - c[:, 1]) + 1j * (s[:, 0] - s[:, 1])) ** 2 / 2)
    return relative(found, line[:, None] * line)


@case("square aperture 0.2 mm, far field", reference="sinc^2", bound=1e-3)
def far_square() -> float:
    """Samples of 4 um stand for the square: the trapezoidal rule is off by (pi d x / (w z))^2 / 3 = 1e-3."""
    grid, side, z = Grid(128, 4e-6), 200e-6, 2.0
    out = Grid((65, 80), 200e-6)
    u = rectangular_aperture(grid, side)[None] + 0j
    lens = torch.exp(1j * quadratic_lens(grid, WAVE, z))  # brings the far field to z exactly
    found = irradiance(propagate(u * lens, grid, WAVE, z, output=out, method="fresnel_zoom"))[0]
    lines = [torch.sinc(side * a / (WAVE * z)) ** 2 for a in (out.y, out.x)]
    return relative(found, lines[0][:, None] * lines[1] * (side**2 / (WAVE * z)) ** 2)


@case("Airy pattern of a lens f 10 mm, aperture 0.4 mm", reference="(2 J1(v) / v)^2", bound=1e-3)
def airy() -> float:
    grid, f, diameter = Grid(400, 1.5e-6), 10e-3, 400e-6
    out = Grid((1, 161), 0.5e-6)
    u = circular_aperture(grid, diameter) * torch.exp(1j * ideal_lens(grid, WAVE, f))
    found = irradiance(propagate(u, grid, WAVE, f, output=out))[0, 0]
    sine = torch.sin(torch.atan(out.x / f))
    v = (math.pi * diameter / WAVE * sine).numpy()
    v[v == 0] = 1e-9
    return relative(found / found.max(), torch.from_numpy((2 * special.j1(v) / v) ** 2))


@case("MTF of the same lens, incoherent", reference="closed form of the round pupil", bound=5e-3)
def mtf() -> float:
    """The rings outside of the window of 1.5 mm hold 2 / (pi v) = 4e-3 of the light."""
    grid, f, diameter = Grid(400, 1.5e-6), 10e-3, 400e-6
    u = circular_aperture(grid, diameter) * torch.exp(1j * ideal_lens(grid, WAVE, f))
    spread = psf(u, grid, WAVE, f, output=Grid(1000, 1.5e-6))[0]
    found = torch.fft.fft2(spread).abs()[0, :500]
    nu = (torch.arange(500) / (1000 * 1.5e-6) * WAVE * f / diameter).clamp(max=1).double()
    exact = 2 / math.pi * (torch.acos(nu) - nu * (1 - nu**2).sqrt())
    return float((found / found[0] - exact).abs().max())


@case("Talbot self-image of a grating of 40 um, period of the image", reference="the grating", bound=1e-9)
def talbot() -> float:
    """The window is a whole number of periods and taken as periodic; paraxially the self-image is exact."""
    grid, period = Grid((4, 400), 2e-6), 40e-6
    u = 0.5 + 0.5 * torch.cos(2 * math.pi * grid.x / period) + 0.2 * torch.sin(6 * math.pi * grid.x / period)
    u = u.expand(1, 4, -1).to(torch.complex128)
    z = 2 * period**2 / WAVE
    there = propagate(u, grid, WAVE, z, method="fresnel", padding=1)
    return relative(there.abs(), u.abs())


@case("Fresnel zone plate, amplitude at its focus", reference="1 / pi of a lens", bound=2e-2)
def zones() -> float:
    grid, f = Grid(1000, 1e-6), 20e-3
    pupil = circular_aperture(grid, 900e-6)
    centre = Grid(1, 1e-6)
    plate = propagate(
        (zone_plate(grid, WAVE, f) * pupil) + 0j, grid, WAVE, f, output=centre, method="fresnel_zoom"
    )
    lens = propagate(
        torch.exp(1j * quadratic_lens(grid, WAVE, f)) * pupil,
        grid,
        WAVE,
        f,
        output=centre,
        method="fresnel_zoom",
    )
    return abs(float(plate.abs() / lens.abs()) * math.pi - 1)


@case("4f system inverts its object", reference="the object, turned", bound=1e-3)
def four_f() -> float:
    grid, f, wave = Grid(401, 4e-6), 20e-3, 500e-9
    y, x = grid.mesh()
    spots = torch.exp(-((y - 150e-6) ** 2 + (x + 90e-6) ** 2) / (60e-6) ** 2)
    u = (spots + 0.5 * torch.exp(-((y + 60e-6) ** 2 + (x + 200e-6) ** 2) / (50e-6) ** 2))[None] + 0j
    lens = torch.exp(1j * quadratic_lens(grid, wave, f))
    for distance, element in ((f, lens), (2 * f, lens), (f, None)):
        u_next = propagate(u, grid, wave, distance, method="fresnel")
        u = u_next if element is None else u_next * element
    start = spots + 0.5 * torch.exp(-((y + 60e-6) ** 2 + (x + 200e-6) ** 2) / (50e-6) ** 2)
    return relative(u[0].abs(), start.flip(0, 1))


@case("Strehl ratio of 0.3 rad rms of astigmatism and coma", reference="exp(-sigma^2)", bound=1e-2)
def strehl() -> float:
    grid, f, diameter = Grid(256, 2e-6), 10e-3, 400e-6
    pupil = circular_aperture(grid, diameter) * torch.exp(1j * ideal_lens(grid, WAVE, f))
    aberration = wavefront(grid, diameter, {6: 0.2, 8: math.sqrt(0.3**2 - 0.2**2)})
    peaks = [
        irradiance(propagate(u[0][None], grid, WAVE, f))[0, 128, 128]
        for u in (pupil, pupil * torch.exp(1j * aberration))
    ]
    return abs(float(peaks[1] / peaks[0]) / math.exp(-(0.3**2)) - 1)


@case("efficiency of gratings of 2, 4, 8, 16 levels", reference="sinc^2(1 / N)", bound=1e-4)
def multilevel() -> float:
    worst, n = 0.0, 1024
    for count in (2, 4, 8, 16):
        grid = Grid((1, n), 1e-6, centre=(0, (n // 2 + 0.5) * 1e-6))
        stepped = levels(blazed_grating(grid, n * 1e-6) - math.pi / count, count)
        efficiency = float((torch.fft.fft(torch.exp(1j * stepped))[0, 1].abs() / n) ** 2)
        worst = max(worst, abs(efficiency - np.sinc(1 / count) ** 2))
    return worst


@case("coherence of a round source of 2 mm at 1 m", reference="van Cittert-Zernike", bound=1e-3)
def van_cittert_zernike() -> float:
    """Fields of independent points, propagated one by one, correlated at pairs of points."""
    diameter, z, wave = 2e-3, 1.0, 500e-9
    source = Grid(65, 2.2e-3 / 65)
    weights = circular_aperture(source, diameter).flatten()
    y, x = (a.expand(source.shape).flatten() for a in source.mesh())
    detector = torch.arange(0, 600e-6, 20e-6, dtype=torch.float64)
    points = (y[:, None] ** 2 + (x[:, None] - detector) ** 2) / (2 * z)
    u = torch.exp(2j * math.pi / wave * points)
    mutual = (weights[:, None] * u * u[:, :1].conj()).sum(0) / weights.sum()
    v = (math.pi * diameter * detector / (wave * z)).numpy()
    v[0] = 1e-9
    return float((mutual.abs() - torch.from_numpy(np.abs(2 * special.j1(v) / v))).abs().max())


@case("plane tilted by 0.3 rad", reference="Rayleigh-Sommerfeld sum", bound=1e-6)
def tilted() -> float:
    from photonet.optics import kernels

    grid, z, angle = Grid((64, 60), 1e-6), 60e-6, 0.3
    source = gaussian_beam(grid, WAVE, waist=6e-6)
    found = rotate_plane(propagate(source, grid, WAVE, z), grid, WAVE, about_y=angle)[0]
    (ys, xs), wave, worst = grid.mesh(), torch.tensor([WAVE], dtype=torch.float64), 0.0
    for i, j in ((32, 30), (22, 24), (40, 37), (28, 20)):
        px, pz = grid.x[j] * math.cos(angle), -grid.x[j] * math.sin(angle)
        exact = (
            source * kernels.rayleigh_sommerfeld(grid.y[i] - ys, px - xs, wave, z + pz)
        ).sum() * grid.cell
        worst = max(worst, float((found[i, j] - exact).abs() / found.abs().max()))
    return worst


def _forvard(n: int, pitch: float, waist: float, z: float) -> tuple[torch.Tensor, torch.Tensor, Grid]:
    try:
        import LightPipes
    except ImportError:
        raise Skip("LightPipes is not installed (extra 'validation')") from None
    grid = Grid(n, pitch)
    y, x = grid.mesh()
    start = torch.exp(-(y**2 + x**2) / waist**2).to(torch.complex128)[None]
    beam = LightPipes.Begin(n * pitch, WAVE, n)
    beam.field = start[0].numpy().copy()
    return start, torch.from_numpy(np.array(LightPipes.Forvard(beam, z).field)), grid


@case(
    "LightPipes Forvard, Gaussian 200 um over 0.5 m, the same conditions",
    reference="LightPipes 2.1.5",
    bound=1e-8,
)
def lightpipes_periodic() -> float:
    """Forvard is a periodic paraxial transfer function with pi = 3.141592654; its k z is off by that much."""
    start, theirs, grid = _forvard(256, 20e-6, 200e-6, 0.5)
    ours = propagate(start, grid, WAVE, 0.5, method="fresnel", padding=1)[0]
    turn = (theirs * ours.conj()).sum()
    return relative(ours * turn / turn.abs(), theirs)


def _exact_against_forvard(waist: float) -> float:
    start, theirs, grid = _forvard(256, waist / 10, waist, 20 * waist**2 / WAVE / 20)
    ours = propagate(start, grid, WAVE, 20 * waist**2 / WAVE / 20)[0]
    turn = (theirs * ours.conj()).sum()
    return relative(ours * turn / turn.abs(), theirs)


@case("exact against Forvard falls as NA^2 (waist 4, 8, 16 um)", reference="ratio 4", bound=0.3)
def lightpipes_exact() -> float:
    """Over the same number of Rayleigh lengths the paraxial phase error k z theta^4 goes as theta^2."""
    errors = [_exact_against_forvard(w) for w in (4e-6, 8e-6, 16e-6)]
    return max(abs(a / b - 4) / 4 for a, b in itertools.pairwise(errors))


@case("LightPipes Forward (direct integration), N = 32", reference="LightPipes 2.1.5", bound=2e-2)
def lightpipes_forward() -> float:
    """Forward integrates the Fresnel kernel over pixels of size / (N - 1); so are ours spaced here."""
    try:
        import LightPipes
    except ImportError:
        raise Skip("LightPipes is not installed (extra 'validation')") from None
    n, size, z = 32, 640e-6, 0.1
    grid = Grid(n, size / (n - 1))
    y, x = grid.mesh()
    start = torch.exp(-(y**2 + x**2) / (100e-6) ** 2).to(torch.complex128)[None]
    beam = LightPipes.Begin(size, WAVE, n)
    beam.field = start[0].numpy().copy()
    theirs = torch.from_numpy(np.array(LightPipes.Forward(beam, z, size, n).field))
    return relative(propagate(start, grid, WAVE, z)[0].abs(), theirs.abs())


@case("tilted plane wave of 20 mrad crosses the right way", reference="tan(theta) z", bound=1e-4)
def tilt() -> float:
    grid = Grid(512, 4e-6)
    u = gaussian_beam(grid, WAVE, waist=150e-6) * plane_wave(grid, WAVE, angle=(0, 0.02))
    image = irradiance(propagate(u, grid, WAVE, 20e-3))[0]
    way = 20e-3 * math.tan(0.02)
    return abs(float((image * grid.x).sum() / image.sum()) / way - 1)
