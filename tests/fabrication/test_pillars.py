import math

import pytest
import torch

from photonet import materials
from photonet.errors import InvalidArgument, UnknownName
from photonet.fabrication import EdgeRoughness, Geometry, MissingPillars, SidewallAngle, draw, fabricate
from photonet.fabrication.pillars import line_average
from photonet.mask import Mask

LIBRARY = "sin-pillars-293nm"
RGB = [635e-9, 532e-9, 450e-9]


def pillars(shape=(1, 3), width=1.5e-7, elements=1):
    w = torch.full(shape, width, dtype=torch.float64)
    return Geometry(
        shape=shape, pitch=(3e-7, 3e-7), width=w, height=torch.full_like(w, 7.5e-7), elements=elements
    )


@pytest.mark.parametrize(("held", "change"), [("top", 26.19e-9), ("middle", 0.0), ("foot", -26.19e-9)])
def test_walls_at_88_degrees_are_26_nm_a_side(held, change):
    made = fabricate(pillars(), SidewallAngle(mean=math.radians(88), held=held), seed=0)
    assert made.taper.flatten().tolist() == pytest.approx([52.38e-9] * 3, rel=1e-3)
    assert (made.width - 1.5e-7).flatten().tolist() == pytest.approx([change] * 3, abs=1e-11)


def test_upright_walls_change_nothing():
    mask = Mask.from_meta_atoms([[0.0, 1.5e-7]], library=LIBRARY)
    made = mask.perturb(SidewallAngle(), seed=0)
    torch.testing.assert_close(made.transmission(RGB), mask.transmission(RGB))


def test_a_leaning_pillar_delays_as_the_mean_of_its_slabs():
    mask = Mask.from_meta_atoms([[0.0, 1.5e-7]], library=LIBRARY)
    made = mask.perturb(SidewallAngle(mean=math.radians(87), held="middle"), seed=0)
    taper = 2 * 750e-9 / math.tan(math.radians(87))
    widths = 1.5e-7 + taper * ((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000 - 0.5)
    phase = materials.load_meta_atoms(LIBRARY).phase(widths[None], RGB).mean(-1)
    expected = torch.stack([torch.ones_like(phase), torch.exp(1j * phase)], -1)
    # three Gauss points miss L^6 / 2016000 of the sixth derivative: for the blue proxy
    # 4e7 rad/um^6 * (0.079 um)^6 / 2e6 = 5e-6
    torch.testing.assert_close(made.transmission(RGB), expected, rtol=0, atol=5e-6)
    flat = materials.load_meta_atoms(LIBRARY).phase(torch.tensor([[1.5e-7]]), RGB)[:, 0]
    assert (phase - flat).abs().min() > 1e-3  # the mean over slabs is not the phase of the mean width


def test_the_angle_is_drawn_per_device():
    angles = draw(SidewallAngle(systematic=0.01), pillars(), seed=1, devices=1000)[0]["angle"]
    assert angles.shape == (1000, 1, 1)
    assert angles.std().item() == pytest.approx(0.01, rel=3 / 2000**0.5)


def test_line_average_is_the_double_integral():
    points = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    for ratio in (0.005, 0.02, 1.0, 7.0):
        numeric = torch.exp(-ratio * (points[:, None] - points).abs()).mean().item()
        # midpoints with a kink on the diagonal: 400 cells there, each wrong by ratio / 400 / 3
        tolerance = ratio / (3 * 400**2) * 2 + 1e-9
        assert line_average(torch.tensor(ratio).double()).item() == pytest.approx(numeric, abs=tolerance)


def test_edge_roughness_averages_over_the_edges_of_a_pillar():
    n, sigma, correlation, width = 20000, 2.5e-9, 35e-9, 150e-9
    made = fabricate(pillars((1, n), width), EdgeRoughness(sigma=sigma, correlation=correlation), seed=3)
    r = width / correlation
    expected = sigma * math.sqrt((r - 1 + math.exp(-r)) / r**2)
    assert made.width.std().item() == pytest.approx(expected, rel=3 / (2 * n) ** 0.5)
    empty = fabricate(pillars((1, 3), 0.0), EdgeRoughness(sigma=sigma, correlation=correlation), seed=3)
    assert empty.width.abs().max() == 0


def test_no_pillar_grows_beyond_its_cell():
    for elements, cell in ((1, 3e-7), (4, 1.5e-7)):
        wide = pillars((1, 500), 0.98 * cell, elements)
        for error in (EdgeRoughness(sigma=2e-8, correlation=1e-6), SidewallAngle(mean=math.radians(85))):
            assert fabricate(wide, error, seed=0).width.max().item() == pytest.approx(cell)


def test_missing_pillars_transmit_as_empty_cells():
    width = torch.full((40, 40), 1.5e-7, dtype=torch.float64)
    mask = Mask.from_meta_atoms(width, library=LIBRARY)
    made = mask.perturb(MissingPillars(fraction=0.2), seed=1)
    gone = made.geometry.missing.bool()
    # binomial: 1600 * 0.2 = 320 +- 16
    assert 320 - 64 < gone.sum().item() < 320 + 64
    t = made.transmission(RGB)
    torch.testing.assert_close(t[:, gone], torch.ones_like(t[:, gone]))
    torch.testing.assert_close(t[:, ~gone], mask.transmission(RGB)[:, ~gone])
    assert (mask.perturb(MissingPillars(fraction=1), seed=1).transmission(RGB) - 1).abs().max() < 1e-12


def test_a_sample_of_four_pillars_loses_quarters():
    values = draw(MissingPillars(fraction=0.5), pillars((50, 50), elements=4), seed=0)[0]["missing"]
    assert values.unique().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    # the mean of 10,000 fair coins, three sigma
    assert values.mean().item() == pytest.approx(0.5, abs=0.015)


def test_gradients_pass_through_every_pillar_error():
    errors = [
        SidewallAngle(mean=math.radians(88)),
        EdgeRoughness(sigma=3e-9, correlation=3e-8),
        MissingPillars(fraction=0.3),
    ]
    um = torch.linspace(0.1, 0.2, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()

    def made(um):
        mask = Mask.from_meta_atoms(um * 1e-6, library=LIBRARY)
        return mask.perturb(errors, seed=1, devices=2).transmission(RGB)

    assert torch.autograd.gradcheck(made, um)


def test_a_relief_has_no_pillars():
    relief = Mask.from_height([[0.0, 1e-6]], pitch=1e-6, material="SiO2")
    for error in (SidewallAngle(), MissingPillars(fraction=0.1), EdgeRoughness(sigma=1e-9, correlation=1e-8)):
        with pytest.raises(InvalidArgument, match="it has no width"):
            relief.perturb(error, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SidewallAngle(mean=88), r"^mean: .*math\.radians\(88\)"),
        (lambda: SidewallAngle(mean=0.1), r"^mean: "),
        (lambda: SidewallAngle(systematic=-1), r"^systematic: "),
        (lambda: EdgeRoughness(sigma=1e-9, correlation=0), r"^correlation: "),
        (lambda: EdgeRoughness(sigma=-1e-9, correlation=1e-8), r"^sigma: "),
        (lambda: MissingPillars(fraction=1.5), r"^fraction: "),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_unknown_place_of_the_width():
    with pytest.raises(UnknownName, match="held"):
        SidewallAngle(held="bottom")
