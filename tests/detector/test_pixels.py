import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Grid
from photonet.detector import pixel_irradiance
from photonet.errors import GridMismatch, InvalidArgument


def test_equal_grids_change_nothing():
    light = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = Grid((5, 6), 1e-6)
    torch.testing.assert_close(pixel_irradiance(light, grid, grid), light)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.3, 4.0), st.integers(4, 12), st.floats(-1, 1), st.integers(0, 99))
def test_pixels_that_tile_more_than_the_window_keep_all_power(ratio, n, shift, seed):
    light = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid = Grid(n, 1e-6)
    pixels = Grid(int((n + 2) / ratio) + 3, ratio * 1e-6, centre=(shift * 1e-6, 0))
    collected = pixel_irradiance(light, grid, pixels)
    assert collected.sum().item() * pixels.cell == pytest.approx(light.sum().item() * grid.cell, rel=1e-12)


def test_shift_by_half_a_sample_averages_neighbours():
    grid = Grid((1, 4), 1e-6)
    light = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    moved = pixel_irradiance(light, grid, Grid((1, 4), 1e-6, centre=(0, 0.5e-6)))
    torch.testing.assert_close(moved, torch.tensor([[0.5, 0.5, 0.0, 0.0]]))


def test_smaller_fill_sees_a_smaller_part_of_the_cell():
    grid, pixels = Grid(9, 1e-6), Grid(3, 3e-6)  # nine samples, three pixels of three: same middle
    light = torch.zeros(9, 9)
    light[4, 4] = 9.0
    assert pixel_irradiance(light, grid, pixels)[1, 1].item() == pytest.approx(1)
    assert pixel_irradiance(light, grid, pixels, fill=1 / 3)[1, 1].item() == pytest.approx(9)
    light = light.roll(1, 0)
    assert pixel_irradiance(light, grid, pixels, fill=1 / 3)[1, 1].item() == pytest.approx(0, abs=1e-5)


def test_gradient_reaches_the_light():
    light = torch.rand(
        4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    pixels = Grid(2, 1.7e-6, centre=(0.2e-6, -0.1e-6))
    assert torch.autograd.gradcheck(lambda x: pixel_irradiance(x, Grid(4, 1e-6), pixels, fill=0.8), light)


def test_bad_input_names_the_argument():
    grid = Grid(4, 1e-6)
    with pytest.raises(GridMismatch, match=r"^irradiance: expected"):
        pixel_irradiance(torch.ones(4, 5), grid, grid)
    for light in (-torch.ones(4, 4), 1j * torch.ones(4, 4), torch.full((4, 4), torch.nan)):
        with pytest.raises(InvalidArgument, match=r"^irradiance: expected"):
            pixel_irradiance(light, grid, grid)
    for fill in (0.0, 1.2, -0.5, "full"):
        with pytest.raises(InvalidArgument, match=r"^fill: expected"):
            pixel_irradiance(torch.ones(4, 4), grid, grid, fill=fill)
