"""What a design will reach before it is trained."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from photonet import estimate
from photonet.errors import InvalidArgument, UnknownName
from photonet.estimate import _settle
from photonet.models import compressed_meta, random_psfs


def blobs(n, classes=3, width=6, spread=0.5, seed=0):
    """Pictures of well separated classes, [n, width], and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, width, generator=generator)
    return centres[labels] + spread * torch.randn(n, width, generator=generator), labels


def mlp(hidden, width=6, classes=3):
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def blind(first):
    """A network that sees only so many of the six inputs."""

    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(16, first)

        def forward(self, x):
            return self.net(x[:, :first])

    return Blind()


def test_a_design_that_sees_more_is_ranked_first():
    found = estimate({"one": partial(blind, 1), "all": partial(blind, 6)}, blobs(200), samples=200)
    assert found.ranking == [["all"], ["one"]]
    assert found.table.better.sel(design="all", other="one") > 0.975
    np.testing.assert_allclose(found.table.better.values + found.table.better.values.T, 1)


def test_equal_designs_cannot_be_told_apart():
    found = estimate([partial(mlp, 32)] * 3, blobs(100), samples=100)
    assert len(found.ranking) == 1
    assert set(found.ranking[0]) == {"design 1", "design 2", "design 3"}
    assert "too close" in str(found)


def test_a_few_trained_designs_tell_the_level():
    found = estimate({str(n): partial(blind, n) for n in (1, 2, 3, 6)}, blobs(200), samples=200)
    estimated = {str(n): float(found.table.accuracy.sel(design=str(n))) for n in (1, 2, 3, 6)}
    same = found.anchored({name: estimated[name] - 0.1 for name in ("1", "3", "6")}).table
    for name, value in estimated.items():  # an equal gap leaves no doubt
        for column in ("accuracy", "low", "high"):
            assert abs(float(same[column].sel(design=name)) - (value - 0.1)) < 1e-9
    trained = found.anchored({"1": estimated["1"] - 0.1, "3": estimated["3"] - 0.2})
    half = 12.7062 * 0.1 / 2**0.5 * 1.5**0.5  # Student's t of one degree of freedom
    row = trained.table.sel(design="2")
    assert abs(float(row.accuracy) - (estimated["2"] - 0.15)) < 1e-9
    assert float(row.low) == max(0.0, float(row.accuracy) - half) == 0.0
    assert trained.ranking == found.ranking
    assert found.table.accuracy.sel(design="1") == estimated["1"]  # the original is as it was
    with pytest.raises(UnknownName, match="seven"):
        found.anchored({"1": 0.5, "seven": 0.5})
    with pytest.raises(InvalidArgument, match="^reached: expected.*two or more"):
        found.anchored({"1": 0.5})
    with pytest.raises(InvalidArgument, match=r"^reached\['1'\]"):
        found.anchored({"1": 98.0, "2": 97.0})


def test_a_kernel_that_knows_the_answer_is_right():
    """Classes far apart on the scale of their spread: every left-out picture is found."""
    found = estimate(partial(mlp, 32), blobs(90, spread=1e-3), samples=90)
    assert found.table.accuracy.item() == 1
    assert found.table.low.item() == found.table.high.item() == 1


def test_labels_at_random_give_chance():
    x, _ = blobs(400, classes=4)
    labels = torch.randint(0, 4, (400,), generator=torch.Generator().manual_seed(1))
    found = estimate(partial(mlp, 16, classes=4), (x, labels), samples=400)
    # three standard deviations of a binomial of 400 tries at 1/4
    assert abs(found.table.accuracy.item() - 0.25) < 3 * (0.25 * 0.75 / 400) ** 0.5


def test_the_interval_is_the_binomial_one_for_one_network():
    x, labels = blobs(400, spread=1.5)
    found = estimate(mlp(16), (x, labels), samples=400).table
    p = found.accuracy.item()
    expected = 2 * 1.96 * (p * (1 - p) / 400) ** 0.5
    # 4,000 draws know a quantile of 2.5 % to about 3 % of the width; the count is a whole number of 400
    assert found.high.item() - found.low.item() == pytest.approx(expected, rel=0.1, abs=2 / 400)


def test_more_confidence_is_a_wider_interval():
    designs, pictures = partial(mlp, 16), blobs(200, spread=1.5)
    few, many = (estimate(designs, pictures, samples=200, confidence=c).table for c in (0.5, 0.99))
    assert many.low < few.low < few.high < many.high


def test_the_same_seed_gives_the_same_table_and_leaves_the_callers_numbers_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = estimate(partial(mlp, 8), blobs(100), samples=60, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert first.to_xarray().identical(estimate(partial(mlp, 8), blobs(100), samples=60, seed=4).to_xarray())


def test_a_network_is_taken_as_it_is_and_left_as_it_was():
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    found = estimate(network, blobs(60), samples=60)
    assert found.table.initialisations.item() == 1
    assert network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_only_trainable_parameters_count():
    def frozen():
        return random_psfs(compressed_meta(2, 3, hidden=8), torch.Generator().manual_seed(0))

    pictures = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 10
    sizes = estimate(
        {"all": partial(compressed_meta, 2, 3, hidden=8), "frozen": frozen}, pictures, samples=40
    )
    difference = sizes.table.parameters.sel(design="all") - sizes.table.parameters.sel(design="frozen")
    assert difference.item() == 2 * 9


def test_pictures_without_a_label_are_left_out():
    x, labels = blobs(60)
    labels = labels.clone()
    labels[::2] = -100
    assert estimate(mlp(8), (x, labels), samples=60).table.attrs["samples"] == 30


@pytest.mark.parametrize(
    ("designs", "pictures", "words"),
    [
        ({}, blobs(40), "at least one design"),
        ([3], blobs(40), "function that makes one"),
        ("student", blobs(40), "networks, or functions"),
        ({1: mlp(8), "1": mlp(9)}, blobs(40), "designs: expected names that differ as words"),
        (lambda: 3, blobs(40), "returns a torch module"),
        (mlp(8, classes=2), blobs(40), "one per class"),
        (mlp(8).requires_grad_(False), blobs(40), "trainable"),
        (mlp(8), blobs(10), "at least 20"),
        (mlp(8), (blobs(40)[0], torch.zeros(40, 6, dtype=torch.long)), "one class per picture"),
    ],
)
def test_what_cannot_be_estimated_is_said(designs, pictures, words):
    with pytest.raises(InvalidArgument, match=words):
        estimate(designs, pictures, samples=40)


def test_labels_that_are_no_classes():
    inputs, labels = torch.rand(40, 4), torch.arange(40) % 3
    with pytest.raises(InvalidArgument, match="train labels: expected one class per picture.*float"):
        estimate(lambda: nn.Linear(4, 3), (inputs, labels.double()))
    with pytest.raises(InvalidArgument, match="train labels: expected classes from 0 on, or -100, got -1"):
        estimate(lambda: nn.Linear(4, 3), (inputs, labels - 1))
    found = estimate(lambda: nn.Linear(4, 3), (inputs, labels), initialisations=1)
    with pytest.raises(InvalidArgument, match="reached: expected accuracies by the names"):
        found.anchored([0.5, 0.6])


def test_statistics_of_the_pictures_are_of_equal_parts():
    """One picture that was left over counted as much as 250, and a layer of vectors does not take one."""
    for n in (251, 260):
        x = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
        network = nn.Sequential(nn.BatchNorm1d(6))
        with torch.no_grad():
            _settle(network, x)
        # the parts differ by one picture in 250
        assert (network[0].running_mean - x.mean(0)).abs().max() < 0.01 * n**-0.5
