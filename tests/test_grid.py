import pytest
import torch

from photonet import Grid
from photonet.errors import GridMismatch, InvalidArgument
from photonet.grid import check_same_grid


@pytest.mark.parametrize("n", [1, 4, 5, 512, 513])
def test_middle_sample_is_the_axis_for_even_and_odd(n):
    grid = Grid(shape=(n, n + 1), pitch=(2e-6, 3e-6))
    assert grid.y[n // 2] == 0
    assert grid.x[(n + 1) // 2] == 0
    assert grid.extent == pytest.approx((n * 2e-6, (n + 1) * 3e-6))


def test_centre_moves_every_sample():
    shifted, plain = Grid(8, 1e-6, centre=(1e-3, -2e-3)), Grid(8, 1e-6)
    torch.testing.assert_close(shifted.y - plain.y, torch.full((8,), 1e-3, dtype=torch.float64))
    torch.testing.assert_close(shifted.x - plain.x, torch.full((8,), -2e-3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"shape": 0, "pitch": 1e-6}, "shape"),
        ({"shape": 2.5, "pitch": 1e-6}, "shape"),
        ({"shape": True, "pitch": 1e-6}, "shape"),
        ({"shape": (4, 4, 4), "pitch": 1e-6}, "shape"),
        ({"shape": 4, "pitch": -1e-6}, "pitch"),
        ({"shape": 4, "pitch": (1e-6, float("nan"))}, "pitch"),
        ({"shape": 4, "pitch": "1 um"}, "pitch"),
        ({"shape": 4, "pitch": 1e-6, "centre": (0, float("inf"))}, "centre"),
    ],
)
def test_bad_grids_name_the_argument(arguments, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        Grid(**arguments)


def test_mismatch_shows_both_grids():
    with pytest.raises(GridMismatch, match=r"mask: expected the grid 8 x 8 at 1e-06 .* got 9 x 8"):
        check_same_grid("mask", Grid((9, 8), 1e-6), Grid(8, 1e-6))
    check_same_grid("mask", Grid(8, 1e-6 * (1 + 1e-13)), Grid(8, 1e-6))
