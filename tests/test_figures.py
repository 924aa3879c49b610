import matplotlib
import pytest
import torch

from photonet import Field, Grid, Mask
from photonet.figures import show_plane

WAVE = 525e-9


@pytest.fixture(autouse=True)
def no_windows():
    from matplotlib import pyplot

    matplotlib.use("agg")
    yield
    pyplot.close("all")


def test_a_sample_is_drawn_where_it_lies():
    grid = Grid((4, 6), (2e-6, 1e-6), centre=(10e-6, 0.0))
    axes = show_plane(torch.zeros(4, 6), grid)
    # half a sample beyond the first and the last one, row 0 on top
    assert axes.get_xlim() == pytest.approx((-3.5, 2.5))
    assert axes.get_ylim() == pytest.approx((13.0, 5.0))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (µm)", "y (µm)")


@pytest.mark.parametrize(
    "thing",
    [
        Field.from_image([[0.0, 1.0], [2.0, 3.0]], pitch=1e-6, wavelength=WAVE),
        Mask.from_phase([[0.0, 1.0], [2.0, 3.0]], pitch=1e-6),
        Mask.from_height([[0.0, 1e-6], [2e-6, 3e-6]], pitch=1e-6, material="SiO2"),
        Mask.from_transmission([[0.0, 0.1], [0.2, 0.3]], pitch=1e-6),
    ],
)
def test_everything_is_drawn_with_row_0_on_top(thing):
    axes = thing.plot()
    [picture] = axes.get_images()
    shown = picture.get_array()
    assert list(shown[0] / shown.max()) == pytest.approx([0, 1 / 3])
    assert picture.origin == "upper"
    low, high = axes.get_ylim()
    assert low > high  # y grows downwards
    assert thing.plot(axes) is axes


def test_transmissions_share_a_scale():
    [picture] = Mask.from_transmission([[0.2, 0.3]], pitch=1e-6).plot().get_images()
    assert picture.get_clim() == (0, 1)
