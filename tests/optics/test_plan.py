import math

import pytest
import torch

from photonet import Grid
from photonet.errors import InvalidArgument, SamplingError
from photonet.optics import gaussian_beam, plan, propagate
from photonet.optics.sampling import curvature_error


def test_band_limit_has_the_right_factor_of_two():
    """1,600 samples of 586 nm over 2.4 mm: half the padded step gives 0.616, the right one 0.364."""
    p = plan(Grid(1600, 586e-9), [635e-9, 532e-9, 450e-9], 2.4e-3)
    for pair in p.band_limit:
        assert pair == pytest.approx((0.364, 0.364), abs=5e-4)
    assert p.padding == (2, 2)


def test_band_limit_ends_at_the_sampling_limit():
    p = plan(Grid(64, 1e-6), 500e-9, 1e-6)
    assert p.band_limit == ((0.25, 0.25),)


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_auto_changes_method_where_the_pitch_samples_the_response(factor):
    n, d, w = 512, 10e-6, 633e-9
    critical = n * d * ((2 * d / w) ** 2 - 1) ** 0.5
    expected = "rayleigh_sommerfeld" if factor > 1 else "angular_spectrum"
    assert plan(Grid(n, d), w, critical * factor).method == expected


def test_cut_energy_is_that_of_the_spectrum_given():
    grid = Grid(256, 2e-6)
    white = plan(grid, 500e-9, 5e-3, method="angular_spectrum")
    beam = plan(grid, 500e-9, 5e-3, method="angular_spectrum", field=gaussian_beam(grid, 500e-9, waist=50e-6))
    kept = 2 * 512e-6 / (5e-3**2 + 512e-6**2) ** 0.5 / 500e-9 * 2e-6
    assert white.cut_energy == pytest.approx(1 - kept**2)
    assert beam.cut_energy < 1e-12


def test_what_is_no_grid_is_named():
    with pytest.raises(InvalidArgument, match="grid: expected a photonet.Grid"):
        plan(8, 5e-7, 1e-3)
    with pytest.raises(InvalidArgument, match="output: expected a photonet.Grid"):
        plan(Grid(8, 1e-6), 5e-7, 1e-3, (8, 8))


def test_text_names_what_was_chosen_and_why():
    text = str(plan(Grid((64, 100), 2e-6), 500e-9, 1e-3, dtype=torch.complex64))
    for word in ("angular_spectrum", "128 x 200", "band limit", "alias energy", "MiB", "|z| = 0.001 m"):
        assert word in text


def direct_sum(u, grid, wave, z, output):
    """Rayleigh-Sommerfeld, source sample by source sample, without exp(ikz)."""
    k = 2 * math.pi / wave
    rows = []
    for y in output.y:
        r = ((y - grid.y)[None, :, None] ** 2 + (output.x[:, None, None] - grid.x) ** 2 + z**2).sqrt()
        h = z / (2 * math.pi) * (1 / r - 1j * k) * torch.exp(1j * k * (r - z)) / r**2
        rows.append(torch.einsum("oyx,yx->o", h, u) * grid.cell)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("focus", "z", "output"),
    [
        (0.3e-3, 0.3e-3, Grid(16, 0.5e-6)),
        (0.3e-3, 0.6e-3, Grid(16, 0.5e-6)),
        (1e-3, 0.4e-3, Grid(24, 1.5e-6)),
    ],
)
@pytest.mark.parametrize("soft", [False, True])
def test_another_pitch_is_as_wrong_as_predicted_and_no_more(focus, z, output, soft):
    """A lens of 48 x 48 samples: a sharp end of its spectrum would cost 1e-2 of the field."""
    grid, wave = Grid(48, 1e-6), 525e-9
    y, x = grid.mesh()
    u = torch.exp(-1j * math.pi * (y**2 + x**2) / (wave * focus))
    u = u * torch.exp(-(y**2 + x**2) / (10e-6) ** 2) if soft else u
    expected = direct_sum(u, grid, wave, z, output)
    found = propagate(u[None], grid, wave, z, output=output, carrier=False)[0]
    error = float((found - expected).norm() / expected.norm())
    predicted = plan(grid, wave, z, output, field=u[None]).error
    assert error < 1e-3
    assert predicted / 30 < error < 3 * predicted  # an estimate; see fade_error


def test_strict_refuses_what_is_predicted_to_be_wrong():
    grid = Grid(64, 2e-6)
    with pytest.raises(SamplingError, match="fresnel_response"):
        plan(grid, 5e-7, 1e-4, method="fresnel_response", strict=True)
    assert plan(grid, 5e-7, 1e-4, strict=True).error == 0


def test_fraunhofer_is_as_wrong_as_its_curvature():
    """Over a disc the phase grows to pi a^2 / (w z) at the edge, with a root mean square of 1 / sqrt(3)."""
    grid, wave, z, radius = Grid(200, 1e-6), 5e-7, 10.0, 80e-6
    y, x = grid.mesh()
    disc = (y**2 + x**2 <= radius**2).to(torch.complex128)
    edge = math.pi * radius**2 / (wave * z)
    assert curvature_error(disc[None], grid, wave, z) == pytest.approx(edge / 3**0.5, rel=5e-3)
    assert plan(grid, wave, z, method="fraunhofer", field=disc[None]).error >= edge / 3**0.5 * 0.99


def test_the_plan_of_a_huge_mask_costs_no_memory_and_says_the_same():
    """With a pitch that is just too coarse: the folded part of a white spectrum is the same at any size."""
    wave, pitch, n = 532e-9, 4e-6, 30_000
    whole = plan(Grid(n, pitch), wave, 0.8 * n * pitch**2 / wave, Grid(256, pitch), method="fresnel_zoom")
    small = plan(Grid(1000, pitch), wave, 0.8e3 * pitch**2 / wave, Grid(8, pitch), method="fresnel_zoom")
    assert small.alias_energy > 0.1
    # one of 1,000 frequencies on each axis may fall on the other side
    assert abs(whole.alias_energy - small.alias_energy) < 4e-3


@pytest.mark.parametrize(
    ("method", "good", "bad"), [("rayleigh_sommerfeld", 9e-7, 4e-7), ("fresnel", 2e-7, 9e-7)]
)
def test_good_wavelengths_do_not_mend_a_bad_one(method, good, bad):
    grid, z = Grid(64, 1e-6), 1.5e-4
    light = torch.exp(1j * math.pi * 0.6 * torch.arange(64)).to(torch.complex128).expand(1, 64, 64)
    alone = plan(grid, bad, z, method=method, field=light).error
    assert alone > 0.5 > 10 * plan(grid, good, z, method=method, field=light).error
    among = plan(grid, [good] * 9 + [bad], z, method=method, field=light)
    assert among.error == pytest.approx(alone)
