import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.detector.response import clean_crosstalk, clean_response, convert, fill_well, spread


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.integers(0, 99))
def test_crosstalk_keeps_all_charge_inside_the_frame(share, seed):
    charge = torch.zeros(7, 8, dtype=torch.float64)
    charge[1:-1, 1:-1] = torch.rand(5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    moved = spread(charge, clean_crosstalk(share))
    assert moved.sum().item() == pytest.approx(charge.sum().item(), rel=1e-12)


def test_an_uneven_kernel_moves_charge_in_its_direction():
    point = torch.zeros(2, 3, 5, 5)
    point[..., 2, 2] = 1
    moved = spread(point, clean_crosstalk([[0, 0, 0], [0, 0.7, 0.3], [0, 0, 0]]))
    assert moved.shape == point.shape
    torch.testing.assert_close(moved[1, 2, 2], torch.tensor([0, 0, 0.7, 0.3, 0]))


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-3, 0.5), st.floats(0, 5))
def test_soft_well_lies_under_the_hard_one_by_at_most_s_ln_2(softness, charge):
    hard, soft = (fill_well(torch.tensor(charge, dtype=torch.float64), 1.0, s) for s in (0, softness))
    assert -1e-12 <= (hard - soft).item() <= softness * math.log(2) + 1e-12


def test_table_and_polynomial_agree_where_they_should():
    charge = torch.linspace(0, 1000, 11, dtype=torch.float64)
    rows = [(q / 10, q / 10 * (1 - 0.02 * q / 10)) for q in range(11)]
    torch.testing.assert_close(
        convert(charge, 1000.0, clean_response(rows)), convert(charge, 1000.0, (-0.02,))
    )


@pytest.mark.parametrize("response", [(), (-0.05, 0.01), ((0.0, 0.0), (0.4, 0.45), (1.0, 0.9))])
@pytest.mark.parametrize("softness", [0.0, 0.02])
def test_gradients_reach_the_charge(response, softness):
    charge = torch.tensor([10.0, 333.0, 870.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda q: convert(fill_well(spread(q[None], clean_crosstalk(0.1)), 1e3, softness), 1e3, response),
        charge,
    )
