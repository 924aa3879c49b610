"""Free space against exact integrals and direct sums: the cases in which peers were compared."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import special

from photonet import Grid
from photonet.optics import circular_aperture, gaussian_beam, ideal_lens, kernels, propagate

from . import case


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative L2 distance of ``a`` from ``b``."""
    return float((a - b).norm() / b.norm())


def exact_gaussian(grid: Grid, waist: float, wavelength: float, distance: float) -> torch.Tensor:
    """A unit-power Gaussian beam as the Hankel integral of its angular spectrum, complex128 [y, x].

    The paraxial closed form is itself off by 1.6e-6 at 1 m. Gauss-Legendre nodes up to 8.5 / (pi waist),
    where the spectrum is exp(-72) of its peak.
    """
    nodes, weights = np.polynomial.legendre.leggauss(2000)
    highest = 8.5 / (np.pi * waist)
    f, weights = (nodes + 1) * highest / 2, weights * highest / 2
    sine2 = (wavelength * f) ** 2
    spectrum = np.sqrt(2 * np.pi) * waist * np.exp(-((np.pi * waist * f) ** 2))
    phase = -2 * np.pi / wavelength * distance * sine2 / (1 + np.sqrt(1 - sine2))
    weight = 2 * np.pi * f * spectrum * np.exp(1j * phase) * weights
    y, x = (a.numpy() for a in grid.mesh())
    rho, inverse = np.unique(np.round(np.hypot(y, x), 15), return_inverse=True)
    carrier = np.exp(2j * np.pi * np.fmod(distance, wavelength) / wavelength)
    values = [special.j0(2 * np.pi * np.outer(r, f)) @ weight for r in np.array_split(rho, 256)]
    return torch.from_numpy(carrier * np.concatenate(values)[inverse].reshape(grid.shape))


def _gaussian(
    shape: int | tuple[int, int],
    pitch: float | tuple[float, float],
    distance: float,
    dtype: torch.dtype = torch.complex128,
) -> tuple[torch.Tensor, torch.Tensor]:
    grid, wave, waist = Grid(shape, pitch), 633e-9, 200e-6
    u = gaussian_beam(grid, wave, waist=waist).to(dtype)
    found = propagate(u, grid, wave, distance)[0].to(torch.complex128)
    return found, exact_gaussian(grid, waist, wave, distance)


@case("Gaussian 200 um, 512 x 512 at 10 um, 0.1 m", reference="Hankel integral", bound=1e-10)
def gaussian_near() -> float:
    return relative(*_gaussian(512, 10e-6, 0.1))


@case("Gaussian 200 um, 512 x 512 at 10 um, 1 m", reference="Hankel integral", bound=1e-10)
def gaussian_far() -> float:
    return relative(*_gaussian(512, 10e-6, 1.0))


@case("the same, power in the window", reference="Hankel integral", bound=1e-12)
def gaussian_power() -> float:
    found, exact = _gaussian(512, 10e-6, 1.0)
    return abs(float(found.abs().square().sum() / exact.abs().square().sum()) - 1)


@case("the same, 513 x 400 samples of 10 x 12 um", reference="Hankel integral", bound=1e-10)
def gaussian_odd() -> float:
    return relative(*_gaussian((513, 400), (10e-6, 12e-6), 1.0))


@case("the same in single precision", reference="Hankel integral", bound=1e-6)
def gaussian_single() -> float:
    return relative(*_gaussian(512, 10e-6, 1.0, torch.complex64))


@case("Gaussian, power kept over 0.1 m", reference="1", bound=1e-12)
def power() -> float:
    grid = Grid(512, 10e-6)
    u = propagate(gaussian_beam(grid, 633e-9, waist=200e-6), grid, 633e-9, 0.1)
    return abs(float(u.abs().square().sum()) * grid.cell - 1)


@case(
    "circular aperture 0.5 mm on axis, 20 to 500 mm",
    reference="Rayleigh-Sommerfeld sum",
    bound=1e-6,
    slow=True,
)
def aperture_on_axis() -> float:
    grid, wave = Grid(1024, 4e-6), torch.tensor([532e-9], dtype=torch.float64)
    y, x = grid.mesh()
    hole = (y**2 + x**2 <= (0.25e-3) ** 2).to(torch.complex128)[None]
    worst = 0.0
    for z in (0.02, 0.03, 0.05, 0.06, 0.1, 0.2, 0.5):
        response = kernels.rayleigh_sommerfeld(y, x, wave, torch.tensor(z, dtype=torch.float64))
        exact = (hole * response).sum() * grid.cell
        found = propagate(hole, grid, wave, z)[0, 512, 512]
        worst = max(worst, float((found - exact).abs() / exact.abs()))
    return worst


@case(
    "lens f 50 um, radius 25 um, pitch 250 nm: focal irradiance",
    reference="continuous integral",
    bound=2.5e-5,
)
def high_aperture_focus() -> float:
    """Rayleigh-Sommerfeld integral over the disc in polar coordinates: the focal plane is symmetric."""
    grid, wave, f, radius = Grid(256, 250e-9), 532e-9, 50e-6, 25e-6
    mask = circular_aperture(grid, 2 * radius) * torch.exp(1j * ideal_lens(grid, wave, f))
    found = propagate(mask, grid, wave, f)[0, 128, 128 : 128 + 24].abs().square().numpy()
    nodes, weights = np.polynomial.legendre.leggauss(400)
    rho, weight = (nodes + 1) * radius / 2, weights * radius / 2
    angle = (np.arange(400) + 0.5) * 2 * np.pi / 400
    k = 2 * np.pi / wave
    lens = np.exp(-1j * k * np.sqrt(rho**2 + f**2))
    exact = []
    for x in grid.x[128 : 128 + 24].numpy():
        r = np.sqrt(rho[:, None] ** 2 + x**2 - 2 * rho[:, None] * x * np.cos(angle) + f**2)
        response = f / (2 * np.pi) * (1 / r - 1j * k) * np.exp(1j * k * r) / r**2
        exact.append(np.sum(response.mean(1) * 2 * np.pi * rho * weight * lens))
    exact_irradiance = np.abs(np.array(exact)) ** 2
    return float(np.linalg.norm(found - exact_irradiance) / np.linalg.norm(exact_irradiance))


@case("window of 90 x 61 samples, 2 mm off axis", reference="Rayleigh-Sommerfeld sum", bound=1e-6)
def off_axis_window() -> float:
    grid, wave = Grid((101, 120), 4e-6), torch.tensor([532e-9], dtype=torch.float64)
    out = Grid((90, 61), 4e-6, centre=(2e-3, -0.5e-3))
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(1, *grid.shape, dtype=torch.complex128, generator=generator)
    found = propagate(u, grid, wave, 50e-3, output=out)[0]
    (ys, xs), z = grid.mesh(), torch.tensor(50e-3, dtype=torch.float64)
    worst = 0.0
    for i, j in ((0, 0), (89, 60), (30, 11)):
        response = kernels.rayleigh_sommerfeld(out.y[i] - ys, out.x[j] - xs, wave, z)
        exact = (u * response).sum() * grid.cell
        worst = max(worst, float((found[i, j] - exact).abs() / found.abs().square().mean().sqrt()))
    return worst


@case(
    "windows in eight directions at another pitch, tilted beam",
    reference="Rayleigh-Sommerfeld sum",
    bound=1e-5,
)
def windows_beside_the_axis() -> float:
    """The light is faded out beside the window, which rings with some 1e-7; lost light would be 0.3 to 1."""
    grid, wave, worst = Grid((96, 101), 0.6e-6), torch.tensor([532e-9], dtype=torch.float64), 0.0
    y, x = grid.mesh()
    for z in (0.4e-3, -0.4e-3):
        for sy, sx in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            tilt = 0.2 * sy, 0.14 * sx
            beam = torch.exp(
                -(y**2 + x**2) / (12e-6) ** 2 + 2j * torch.pi / wave * (tilt[0] * y + tilt[1] * x)
            )
            ray = z / (1 - tilt[0] ** 2 - tilt[1] ** 2) ** 0.5
            out = Grid((9, 8), (4e-6, 5e-6), centre=(ray * tilt[0], ray * tilt[1]))
            found = propagate(beam[None], grid, wave, z, output=out)[0]
            distance = torch.tensor(z, dtype=torch.float64)
            exact = torch.stack([
                torch.stack([
                    (beam * kernels.rayleigh_sommerfeld(v - y, h - x, wave, distance)[0]).sum() for h in out.x
                ])
                for v in out.y
            ]) * grid.cell  # fmt: skip
            worst = max(worst, relative(found, exact))
    return worst


@case("corners of the source's window, 4 crops", reference="the whole window", bound=1e-12)
def corners() -> float:
    grid, generator = Grid((64, 75), 3e-6), torch.Generator().manual_seed(0)
    u = torch.randn(1, *grid.shape, dtype=torch.complex128, generator=generator)
    whole, worst = propagate(u, grid, 5e-7, 5e-3), 0.0
    for top, left in ((0, 0), (0, 45), (40, 0), (40, 45)):
        out = Grid((24, 30), 3e-6, (float(grid.y[top + 12]), float(grid.x[left + 15])))
        part = propagate(u, grid, 5e-7, 5e-3, output=out)
        worst = max(worst, relative(part, whole[:, top : top + 24, left : left + 30]))
    return worst


@case("evanescent light, 1.6 waves per wavelength, contact to 300 nm", reference="its integral", bound=1e-5)
def evanescent() -> float:
    grid, wave, waist, fine = Grid(64, 150e-9), 633e-9, 1.2e-6, 1.6 / 633e-9
    y, x = grid.mesh()
    u = (torch.exp(-(x**2 + y**2) / waist**2) * torch.cos(2 * math.pi * fine * x)).to(torch.complex128)
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(160))
    # the spectrum of the Gaussian is exp(-60) of its peak at the ends
    reach, worst = 2.5 / waist, 0.0
    fy, fx, weights = reach * nodes[:, None], reach * nodes[None] + fine, reach * weights
    packet = math.pi * waist**2 * torch.exp(-((math.pi * waist) ** 2) * (fy**2 + (fx - fine) ** 2))
    for distance in (1e-12, 2e-8, 80e-9, 300e-9):
        kz = (wave**-2 - fy**2 - fx**2).to(u).sqrt()  # its tail travels
        rows = (torch.cos(2 * math.pi * grid.y[:, None] * fy[:, 0]) * weights).to(u)
        columns = (torch.cos(2 * math.pi * grid.x[:, None] * fx[0]) * weights).to(u)
        exact = rows @ (packet * torch.exp(2j * math.pi * distance * kz)) @ columns.T
        worst = max(worst, relative(propagate(u[None], grid, wave, distance)[0], exact))
    return worst


@case("reciprocity: source and detector exchanged", reference="1", bound=1e-12)
def reciprocity() -> float:
    grid, generator = Grid((64, 75), 3e-6), torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 1, *grid.shape, dtype=torch.complex128, generator=generator)
    forth, back = (b * propagate(a, grid, 5e-7, 1e-3)).sum(), (a * propagate(b, grid, 5e-7, 1e-3)).sum()
    return float((forth - back).abs() / forth.abs())


@case("there and back, 20 mm", reference="the field itself", bound=1e-11)
def there_and_back() -> float:
    grid = Grid(512, 4e-6)
    u = gaussian_beam(grid, 633e-9, waist=100e-6)
    return relative(propagate(propagate(u, grid, 633e-9, 20e-3), grid, 633e-9, -20e-3), u)


@case("two short steps (6 + 14 mm) against one long", reference="one step", bound=1e-11)
def two_steps() -> float:
    grid = Grid(512, 4e-6)
    u = gaussian_beam(grid, 633e-9, waist=100e-6)
    twice = propagate(propagate(u, grid, 633e-9, 6e-3), grid, 633e-9, 14e-3)
    return relative(twice, propagate(u, grid, 633e-9, 20e-3))


@case("band limit, 1,600 samples of 586 nm over 2.4 mm", reference="sin(theta) = 0.364", bound=5e-4)
def band_limit() -> float:
    from photonet.optics import plan

    limits = plan(Grid(1600, 586e-9), [635e-9, 532e-9, 450e-9], 2.4e-3).band_limit
    return max(abs(s - 1 / math.hypot(1, 2.4e-3 / 937.6e-6)) for pair in limits for s in pair)
