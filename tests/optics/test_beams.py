import math

import pytest
import torch

from photonet import Grid
from photonet.errors import InvalidArgument
from photonet.optics import gaussian_beam, gaussian_schell, hermite_beam, laguerre_beam, propagate

GRID, WAVE = Grid((96, 100), 3e-6), 633e-9


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("order", [(0, 0), (1, 0), (2, 3)])
def test_hermite_beams_keep_their_form(order):
    u = hermite_beam(GRID, WAVE, waist=25e-6, order=order)
    there = propagate(u, GRID, WAVE, 2e-3, method="fresnel")
    assert relative(there, hermite_beam(GRID, WAVE, waist=25e-6, order=order, distance=2e-3)) < 1e-6


@pytest.mark.parametrize(("p", "l"), [(0, 0), (1, 0), (0, -1), (2, 3)])
def test_laguerre_beams_keep_their_form_and_vortex(p, l):
    beam = {"waist": 20e-6, "radial": p, "azimuthal": l}
    there = propagate(laguerre_beam(GRID, WAVE, **beam), GRID, WAVE, 1.5e-3, method="fresnel")
    assert relative(there, laguerre_beam(GRID, WAVE, distance=1.5e-3, **beam)) < 1e-6
    u = laguerre_beam(GRID, WAVE, **beam)[0]
    ring = torch.stack([u[48, 58], u[58, 50], u[48, 42], u[38, 50]])  # towards x, y, -x, -y
    turn = (ring[1] / ring[0]).angle()
    assert math.remainder(float(turn) - l * math.pi / 2, 2 * math.pi) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("l", [171, -400])
def test_orders_whose_factorials_are_no_floats(l):
    u = laguerre_beam(Grid(256, 2e-6), WAVE, waist=12e-6, azimuthal=l)
    assert float(u.abs().square().sum()) * 4e-12 == pytest.approx(1, abs=1e-6)


def test_an_order_that_is_not_whole_is_named():
    with pytest.raises(InvalidArgument, match="azimuthal: expected a whole number, of either sign, got 1.7"):
        laguerre_beam(GRID, WAVE, waist=20e-6, azimuthal=1.7)
    with pytest.raises(InvalidArgument, match="^order: expected"):
        hermite_beam(GRID, WAVE, waist=20e-6, order="two")


def test_lowest_orders_are_the_gaussian():
    plain = gaussian_beam(GRID, WAVE, waist=25e-6, distance=1e-3)
    torch.testing.assert_close(hermite_beam(GRID, WAVE, waist=25e-6, distance=1e-3), plain)
    torch.testing.assert_close(laguerre_beam(GRID, WAVE, waist=25e-6, distance=1e-3), plain)


def test_schell_modes_add_up_to_their_coherence():
    waist, coherence = 40e-6, 30e-6
    u, weights = gaussian_schell(Grid((1, 64), 3e-6), WAVE, waist=waist, coherence=coherence, modes=24)
    line = u[:, 0, 0, :]
    cross = torch.einsum("m,ma,mb->ab", weights.to(u.dtype), line, line.conj()).real
    x = Grid((1, 64), 3e-6).x
    a, b = x[:, None], x[None]
    expected = torch.exp(-(a**2 + b**2) / waist**2 - (a - b) ** 2 / (2 * coherence**2))
    torch.testing.assert_close(cross / cross.max(), expected, atol=1e-6, rtol=0)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)


def test_schell_light_spreads_by_its_coherence():
    """Beam width at a distance, Friberg and Sudol, Opt. Commun. 41, 383 (1982)."""
    grid, waist, coherence, z = Grid(128, 4e-6), 40e-6, 30e-6, 8e-3
    u, weights = gaussian_schell(grid, WAVE, waist=waist, coherence=coherence, modes=8)
    spread = (weights[:, None, None, None] * propagate(u, grid, WAVE, z).abs().square()).sum(0)[0]
    y, _ = grid.mesh()
    sigma2 = float((spread * y**2).sum() / spread.sum())
    k, sigma = 2 * math.pi / WAVE, waist / 2
    delta2 = 1 / (1 / (4 * sigma**2) + 1 / coherence**2)
    assert sigma2 == pytest.approx(sigma**2 * (1 + z**2 / (k * sigma) ** 2 / delta2), rel=2e-3)
