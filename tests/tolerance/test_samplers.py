"""The designs: their structure, their seeds, their prefix property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.errors import InvalidArgument, UnknownName
from photonet.tolerance import SAMPLERS, unit_cube

FITS = {"one-at-a-time": 13, "saltelli": 15}  # 1 + 3 * 4 and (3 + 2) * 3


@pytest.mark.parametrize("name", SAMPLERS)
def test_points_lie_strictly_inside_and_follow_the_seed(name):
    samples = FITS.get(name, 21)
    points = unit_cube(name, samples, 3, seed=5)
    assert points.shape == (samples, 3)
    assert points.dtype == np.float64
    assert (points > 0).all()
    assert (points < 1).all()
    np.testing.assert_array_equal(points, unit_cube(name, samples, 3, seed=5))
    if name != "one-at-a-time":  # which has nothing random
        assert not np.array_equal(points, unit_cube(name, samples, 3, seed=6))


@pytest.mark.parametrize("name", [name for name, entry in SAMPLERS.items() if entry.extends])
@settings(deadline=None, max_examples=10)
@given(
    blocks=st.integers(1, 20), more=st.integers(0, 30), errors=st.integers(1, 4), seed=st.integers(0, 2**64)
)
def test_a_longer_draw_begins_with_the_shorter_one(name, blocks, more, errors, seed):
    step = errors + 2
    short = unit_cube(name, blocks * step, errors, seed=seed)
    long = unit_cube(name, (blocks + more) * step, errors, seed=seed)
    np.testing.assert_array_equal(short, long[: blocks * step])


def test_those_that_do_not_extend_say_so_rightly():
    first = unit_cube("lhs", 8, 2, seed=0)
    assert not np.array_equal(first, unit_cube("lhs", 16, 2, seed=0)[:8])


@pytest.mark.parametrize("name", ["sobol", "lhs"])
def test_each_coordinate_has_one_point_in_each_of_n_cells(name):
    points = unit_cube(name, 64, 5, seed=1)
    for column in points.T:
        assert sorted((column * 64).astype(int)) == list(range(64))


def test_two_sobol_coordinates_fill_every_elementary_square():
    # the first two coordinates form a (0, m, 2) net: each of the 8 x 8 squares holds one of 64 points
    cells = (unit_cube("sobol", 64, 2, seed=3) * 8).astype(int)
    assert len({tuple(cell) for cell in cells}) == 64


def test_one_at_a_time_moves_one_error_and_sweeps_it_evenly():
    points = unit_cube("one-at-a-time", 7, 2, seed=0)
    third = [1 / 6, 0.5, 5 / 6]
    expected = [[0.5, 0.5], *([u, 0.5] for u in third), *([0.5, u] for u in third)]
    np.testing.assert_allclose(points, expected, rtol=1e-15)


def test_saltelli_blocks_exchange_one_coordinate_at_a_time():
    a, b, *mixed = unit_cube("saltelli", 10, 3, seed=2).reshape(2, 5, 3).transpose(1, 0, 2)
    assert not (a == b).any()
    for error, ab in enumerate(mixed):
        other = np.arange(3) != error
        np.testing.assert_array_equal(ab[:, error], b[:, error])
        np.testing.assert_array_equal(ab[:, other], a[:, other])


@pytest.mark.parametrize(
    ("name", "samples", "advice"),
    [
        ("one-at-a-time", 12, "use 11 or 13"), ("one-at-a-time", 1, "use 5"),
        ("one-at-a-time", 3, "at least 2.*use 5"), ("one-at-a-time", 6, "use 5 or 7"),
        ("saltelli", 9, "use 8 or 12"), ("saltelli", 3, "use 4"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_fit_names_the_nearest_that_do(name, samples, advice):
    with pytest.raises(InvalidArgument, match=advice):
        unit_cube(name, samples, 2, seed=0)


def test_wrong_input():
    with pytest.raises(UnknownName, match="did you mean sobol"):
        unit_cube("soboll", 8, 2, seed=0)
    with pytest.raises(InvalidArgument, match="at most 2"):
        unit_cube("sobol", 2**31, 2, seed=0)
    with pytest.raises(InvalidArgument, match="seed"):
        unit_cube("random", 8, 2, seed=-1)
    with pytest.raises(InvalidArgument, match="samples"):
        unit_cube("random", 0, 2, seed=0)
