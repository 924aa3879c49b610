"""Numbers in place of classes: what a student is told, and how it is judged."""

import pytest
import torch
from torch import nn

from photonet.distill import (
    KD,
    NTK,
    CrossEntropy,
    Mixed,
    OutputMatching,
    SquaredError,
    TrainConfig,
    distill,
    predict,
    r_squared,
)
from photonet.distill.inputs import terms_of
from photonet.distill.losses import squared_error
from photonet.errors import GridMismatch, InvalidArgument

CONFIG = TrainConfig(epochs=12, batch_size=32, lr=1e-2)


@pytest.fixture
def data():
    """Where the light of a picture is: two numbers of very different size, linear in the picture."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(320, 1, 6, 6, generator=generator)
    weights = torch.randn(36, 2, generator=generator) * torch.tensor([1e3, 3e3])
    return x, x.flatten(1) @ weights


def student():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 2))


def solved(data):
    """A teacher that knows the answer."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    x, y = (part.double() for part in data)
    with torch.no_grad():
        net[1].weight.copy_(torch.linalg.lstsq(x.flatten(1), y).solution.T)
        net[1].bias.zero_()
    return net


def test_the_loss_counts_what_is_known_and_its_gradient_is_finite():
    outputs = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    targets = torch.tensor([[0.0, torch.nan], [3.0, 2.0]])
    loss = squared_error(outputs, targets, scale=4.0)
    loss.backward()
    assert loss.item() == pytest.approx((1 + 0 + 4) / 3 / 4)
    torch.testing.assert_close(outputs.grad, torch.tensor([[2.0, 0.0], [0.0, 4.0]]) / 12)
    assert squared_error(outputs, torch.full((2, 2), torch.nan)).item() == 0
    with pytest.raises(GridMismatch, match="targets"):
        squared_error(outputs, torch.zeros(2))


def test_explained_variance():
    targets = torch.tensor([[1.0, 5.0], [3.0, torch.nan], [2.0, 7.0]])
    mean = targets.nanmean(dim=0).expand(3, 2)
    assert r_squared(targets.nan_to_num(4.0), targets) == 1
    assert r_squared(mean, targets) == pytest.approx(0, abs=1e-12)
    assert r_squared(mean + 10, targets) < -1


@pytest.mark.parametrize("method", ["ce", "kd", "ntkd", "ntkd-paper"])
def test_named_methods_are_free_of_the_scale_of_the_numbers(data, method):
    terms, _ = terms_of(method, data[1])
    other, _ = terms_of(method, 1000 * data[1])
    outputs = torch.randn(4, 2)
    for term, large in zip(terms, other, strict=True):
        assert not isinstance(term, (CrossEntropy, KD))
        assert not getattr(term, "centred", False)
        if isinstance(term, (SquaredError, OutputMatching)):
            answering_the_mean = squared_error(data[1].mean(dim=0).expand_as(data[1]), data[1], term.scale)
            assert float(answering_the_mean) == pytest.approx(1, rel=1e-4)
            small = squared_error(outputs, 2 * outputs, term.scale)
            torch.testing.assert_close(small, squared_error(1e3 * outputs, 2e3 * outputs, large.scale))


def test_a_teacher_without_a_single_true_number_teaches_regression(data):
    x, y = data
    some = y[:32], torch.randn(288, 2, generator=torch.Generator().manual_seed(2)) * y.std()
    noise = torch.cat(some)
    scaled = nn.Sequential(student(), _Times(y.std(dim=0)))
    again = nn.Sequential(student(), _Times(y.std(dim=0)))
    alone = distill(again, None, (x, noise), val=(x, y), method="ce", config=CONFIG, seed=3)
    taught = distill(scaled, solved(data), (x, noise), val=(x, y), method="kd", config=CONFIG, seed=3)
    assert sorted(taught.history) == ["mse", "outputs", "val_loss", "val_r2"]
    assert taught.metrics["val_r2"] == pytest.approx(r_squared(predict(scaled, x), y))
    assert alone.metrics["val_r2"] < 0.5 < 0.9 < taught.metrics["val_r2"]


def test_kernels_and_rates_work_on_numbers_too(data):
    x, y = data
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2), _Times(y.std(dim=0)))
    small = TrainConfig(epochs=2, batch_size=32)
    result = distill(net, solved(data), (x, y), method="ntkd", config=small, tune=(1e-6, 1e-2))
    assert result.config["lr"] == 1e-2
    assert result.config["views"] == "None"
    assert bool(result.history["ntk"].notnull().all())


def test_mixtures_have_no_number():
    x, y = torch.rand(4, 3), torch.rand(4, 2)
    seen, targets = Mixed(0.5).with_labels(x, y, torch.Generator().manual_seed(0))
    assert targets[:2].isnan().all()
    assert torch.equal(targets[2:], y[2:])
    assert seen.shape == x.shape


def test_what_does_not_fit_is_refused(data):
    x, y = data
    with pytest.raises(InvalidArgument, match=r"shape \[n, 2\].*got torch.float32 of shape \(288,\)"):
        distill(student(), None, (x, y[:, 0]), method="ce")
    with pytest.raises(InvalidArgument, match="terms for labels that are numbers.*got CrossEntropy"):
        distill(student(), None, (x, y), method=(CrossEntropy(),))
    with pytest.raises(InvalidArgument, match="terms for labels that are classes.*got SquaredError"):
        distill(student(), None, (x, torch.zeros(320, dtype=torch.int64)), method=(SquaredError(), NTK()))
    with pytest.raises(InvalidArgument, match="val labels: expected torch.float32, as in train"):
        distill(student(), None, (x, y), val=(x, torch.zeros(320, dtype=torch.int64)), method="ce")
    with pytest.raises(InvalidArgument, match="train labels"):
        distill(student(), None, (x, torch.full_like(y, torch.nan)), method="ce")
    with pytest.raises(InvalidArgument, match="scale"):
        SquaredError(scale=0.0)


class _Times(nn.Module):
    """Outputs in the units of the targets."""

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x):
        return x * self.scale
