import numpy as np
import pytest
import torch
import xarray as xr

from photonet import plot
from photonet.design import MaskDesign
from photonet.mask import Mask


def accuracy(seeds=2):
    table = np.linspace(0.8, 0.9, 3 * seeds).reshape(3, seeds)
    return xr.DataArray(table, dims=["row", "seed"], coords={"row": ["a", "b", "c"], "seed": range(seeds)})


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_table_as_bars_is_in_per_cent_with_its_spread(seeds):
    [axes] = plot.table_bars(accuracy(seeds)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    points = axes.containers[0].lines[0].get_xdata()
    assert list(points) == pytest.approx(100 * accuracy(seeds).mean("seed").values)


def test_curves_show_ntk_only_where_it_was_matched():
    shape = ("student", "seed", "epoch")
    ntk = np.stack([np.zeros((2, 3)), np.ones((2, 3))])
    results = xr.Dataset(
        {"val_accuracy": (shape, np.full((2, 2, 3), 0.5)), "ntk": (shape, ntk)},
        coords={"student": ["kd", "ntkd"], "epoch": [1, 2, 3]},
    )
    left, right = plot.curves(results).axes
    assert left.get_legend_handles_labels()[1] == ["kd", "ntkd"]
    assert right.get_legend_handles_labels()[1] == ["ntkd"]


def test_confusion_counts_truth_in_rows_in_per_cent():
    labels, answers = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    figure = plot.confusion({"before": answers, "after": labels}, labels, ["zero", "one"])
    before, after = figure.axes[:2]
    assert before.get_images()[0].get_array().tolist() == [[50, 50], [0, 100]]
    assert after.get_images()[0].get_array().tolist() == [[100, 0], [0, 100]]


def test_yields_fall_from_all_devices_to_none():
    devices = xr.Dataset(
        {"uncorrected": ("device", [0.5, 0.9, 0.7]), "corrected": ("device", [0.9, 0.95, 0.9])},
        attrs={"simulated": 0.95},
    )
    [axes] = plot.yields(devices).axes
    line = axes.get_lines()[0]
    assert line.get_drawstyle() == "steps-pre"  # all reach 50 %, two of three what is just above
    assert list(line.get_xdata()) == pytest.approx([50, 50, 70, 90, 90])
    assert list(line.get_ydata()) == pytest.approx([100, 100, 200 / 3, 100 / 3, 0])


def test_a_panel_for_every_mask_and_kernel():
    mask = Mask.from_height(torch.rand(2, 3, 4, 4) * 1e-6, pitch=1e-6, material="SiO2")
    design = MaskDesign(mask, torch.ones(2, 3), 1, torch.tensor(()), torch.tensor(()))
    assert len(plot.masks(design).axes) == 2 * 3 + 1  # and the colour bar
    rows = {"wished": torch.rand(3, 3, 3), "designed": torch.zeros(3, 5, 5)}
    assert len(plot.kernel_rows(rows).axes) == 2 * 3


def test_the_map_of_few_features_is_drawn_and_repeats():
    features = {"some": torch.rand(8, 3, 2, generator=torch.Generator().manual_seed(0))}
    first, second = (plot.embedding(features, torch.arange(8) % 2, seed=0).axes[0] for _ in range(2))
    a, b = (axes.collections[0].get_offsets().data for axes in (first, second))
    assert a.shape == (8, 2)
    assert np.array_equal(a, b)
