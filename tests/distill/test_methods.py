"""Whole training runs on small networks."""

import copy

import pytest
import torch
from torch import nn

from photonet.distill import KD, METHODS, NTK, CrossEntropy, TrainConfig, distill, predict
from photonet.errors import DataError, GridMismatch, InvalidArgument, TrainingDiverged
from photonet.models import digital_twin, packed, polychromatic_segmentation
from photonet.nn import HybridNetwork

CONFIG = TrainConfig(epochs=3, batch_size=16, lr=1e-2)


@pytest.fixture
def student():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3))


@pytest.fixture
def data(teacher):
    x = torch.randn(90, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return x, teacher(x).argmax(dim=1)


def jitter(x, generator):
    return x + 0.01 * torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize("views", [None, jitter])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_repeats(method, views, student, teacher, data):
    twin = copy.deepcopy(student)
    before = teacher[0].weight.clone()
    result = distill(student, teacher, data, method=method, config=CONFIG, views=views)
    distill(twin, teacher, data, method=method, config=CONFIG, views=views)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), twin.parameters(), strict=True))
    assert torch.equal(teacher[0].weight, before)
    # 3 classes: a third by chance
    assert result.metrics["val_accuracy"] > 0.5
    assert float(result.history["val_loss"][-1]) < float(result.history["val_loss"][0])


def test_both_kernels_look_along_the_same_direction(teacher, data):
    student = copy.deepcopy(teacher)
    config = TrainConfig(epochs=1, batch_size=16, lr=1e-9)
    for centred in (False, True):
        run = distill(student, teacher, data, method=[NTK(form="cka", centred=centred)], config=config)
        # a network against itself: what is left is the error of the sketch. 16 samples of nearly orthogonal
        # tangents have a relative error of sqrt(16 / 512), and 1 - cosine is half its square
        assert float(run.history["ntk"][0]) < 2 * 16 / 512 / 2


def test_kernels_of_a_part_leave_the_rest_alone(student, teacher, data):
    last = student[2].bias.clone()
    distill(student, teacher, data, method=[NTK(params="0")], config=TrainConfig(epochs=1, weight_decay=0.0))
    assert torch.equal(student[2].bias, last)


def test_a_term_of_weight_zero_changes_nothing(student, teacher, data):
    twin = copy.deepcopy(student)
    distill(student, teacher, data, method=[CrossEntropy(), KD(0.0)], config=CONFIG)
    distill(twin, None, data, method="ce", config=CONFIG)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), twin.parameters(), strict=True))


def test_unlabelled_scenes_are_what_helps_when_labels_are_few(student, teacher, data):
    x, y = data
    scenes = torch.randn(400, 6, generator=torch.Generator().manual_seed(9))
    test = torch.randn(500, 6, generator=torch.Generator().manual_seed(10))
    answers = predict(teacher, test).argmax(1)
    few, held = (x[:12], y[:12]), (x[12:30], y[12:30])
    twin = copy.deepcopy(student)
    config = TrainConfig(epochs=10, batch_size=12, lr=1e-2)
    distill(student, teacher, few, val=held, unlabelled=scenes, config=config)
    distill(
        twin, teacher, few, val=held, config=TrainConfig(epochs=340, batch_size=12, lr=1e-2)
    )  # equal steps
    agreement = [(predict(m, test).argmax(1) == answers).double().mean() for m in (student, twin)]
    assert agreement[0] > agreement[1]


def test_batch_normalisation_is_allowed_with_kernels(teacher, data):
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    distill(student, teacher, data, config=CONFIG)
    assert int(student[1].num_batches_tracked) == 3 * (81 // 16)


def test_tuning_starts_every_rate_alike_and_keeps_the_best(student, teacher, data, tmp_path):
    twin = copy.deepcopy(student)
    tuned = distill(student, teacher, data, method="kd", config=CONFIG, tune=(1e-6, 2e-2), out=tmp_path)
    distill(twin, teacher, data, method="kd", config=TrainConfig(epochs=3, batch_size=16, lr=2e-2))
    assert tuned.config["lr"] == 2e-2
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), twin.parameters(), strict=True))
    lines = (tmp_path / "lr-0.02" / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,ce,kd,val_loss,val_accuracy"
    assert len(lines) == 4


def test_a_rate_that_diverges_is_out_and_all_that_diverge_are_an_error(student, teacher, data, tmp_path):
    arguments = {"teacher": teacher, "train": data, "method": "kd", "config": CONFIG}
    tuned = distill(student, **arguments, tune=(1e-2, 1e38), out=tmp_path)
    assert tuned.config["lr"] == 1e-2
    assert not student.training
    assert torch.isfinite(student[0].weight).all()
    with pytest.raises(
        TrainingDiverged, match=r"every learning rate of tune diverged: lr 1e\+37: .*lr 1e\+38: "
    ):
        distill(student, **arguments, tune=(1e37, 1e38))


def test_maps_are_judged_by_each_class_alike():
    # a pixel in ten is bright
    x = (torch.rand(40, 1, 10, 10, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    labels = x[:, 0].long()
    torch.manual_seed(0)
    student = nn.Conv2d(1, 2, 1)
    with torch.no_grad():  # at first it calls all dark
        student.weight.zero_()
        student.bias.copy_(torch.tensor([1.0, -1.0]))
    config = TrainConfig(epochs=3, batch_size=12)
    run = distill(student, None, (x, labels), val=(x, labels), method="ce", config=config, tune=(1e-7, 0.5))
    assert list(run.history) == ["ce", "val_loss", "val_accuracy", "val_miou"]
    assert run.metrics == {"val_accuracy": 1.0, "val_miou": 1.0}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_maps(method):
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    student = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
    student.append(nn.ConvTranspose2d(6, 2, 2, stride=2))
    x = torch.nn.functional.avg_pool2d(torch.randn(48, 1, 20, 20), 5, stride=2)
    labels = (x[:, 0] > 0).long()
    config = TrainConfig(epochs=20, batch_size=8, lr=2e-2)
    distill(teacher, None, (x, labels), method="ce", config=config, views=None)
    result = distill(student, teacher, (x, labels), method=method, config=config, views=None)
    assert float(result.history["val_loss"][-1]) < float(result.history["val_loss"][0])
    assert result.metrics["val_miou"] > 0.5


def test_tuning_prefers_the_better_mean_over_the_classes(monkeypatch, data):
    """Of two ends of training, the one that finds the rare class, though more pixels are wrong."""
    labels = torch.zeros(20, 10, dtype=torch.int64)
    labels[:, 0] = 1
    found = {1e-3: torch.zeros(20, 10).long(), 1e-9: torch.zeros(20, 10).long()}
    found[1e-9][:, :3] = 1

    class Says(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            # a rate of 1e-9 leaves the parameter where it was
            answer = found[1e-9 if abs(float(self.shift.detach())) < 1e-6 else 1e-3][: len(x)]
            return 9 * nn.functional.one_hot(answer, 2).movedim(-1, 1) + self.shift * x[:, :2, None]

    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    config = TrainConfig(epochs=2, batch_size=10)
    run = distill(Says(), None, (x, labels), val=(x, labels), method="ce", config=config, tune=(1e-9, 1e-3))
    assert run.config["lr"] == 1e-9
    # accuracy 0.8 against 0.9; (14 / 16 and 1 / 3) / 2 against (9 / 10 and 0) / 2
    assert run.metrics["val_accuracy"] == pytest.approx(0.8)


def test_wrong_input_is_named(student, teacher, data, tmp_path):
    with pytest.raises(InvalidArgument, match="teacher"):
        distill(student, None, data)
    with pytest.raises(GridMismatch, match="teacher"):
        distill(student, nn.Linear(6, 4), data, method="kd")
    with pytest.raises(InvalidArgument, match="unlabelled"):
        distill(student, None, data, method="ce", unlabelled=data[0])
    with pytest.raises(GridMismatch, match="unlabelled"):
        distill(student, teacher, data, unlabelled=torch.rand(4, 5))
    with pytest.raises(InvalidArgument, match="different kinds"):
        distill(student, teacher, data, method=[KD(), KD()])
    with pytest.raises(InvalidArgument, match="batch_size"):
        distill(student, teacher, data, config=TrainConfig(batch_size=1))
    broken = copy.deepcopy(student)
    nn.init.constant_(broken[0].weight, float("nan"))
    with pytest.raises(TrainingDiverged, match=r"'ce'.*epoch 1, step 1"):
        distill(broken, None, data, method="ce")
    distill(student, None, data, method="ce", config=CONFIG, out=tmp_path)
    with pytest.raises(DataError, match="another run"):
        distill(student, None, data, method="ce", config=CONFIG, out=tmp_path, seed=1)


def test_the_curve_of_a_term_of_labels_is_of_the_samples_that_have_one(student, teacher, data):
    x, labels = data[0].repeat(10, 1), torch.where(torch.arange(900) < 12, data[1].repeat(10), -100)
    config = TrainConfig(epochs=1, batch_size=18, lr=1e-12)
    run = distill(student, teacher, (x, labels), val=data, method="kd", config=config)
    expected = torch.nn.functional.cross_entropy(predict(student, x[:12]), labels[:12])
    assert float(run.history["ce"][0]) == pytest.approx(float(expected), rel=1e-4)


def _with_norms():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))


@pytest.mark.parametrize("tune", [False, (1e-3, 1e-2)])
def test_what_is_frozen_in_a_model_that_is_trained_stays_and_one_from_prediction_is_trained(tune, data):
    frozen, predicted = _with_norms(), _with_norms().eval()
    frozen[1].eval()
    for model in (frozen, predicted):
        distill(model, None, data, method="ce", config=CONFIG, tune=tune)
    steps = [[int(norm.num_batches_tracked) for norm in (m[1], m[3])] for m in (frozen, predicted)]
    assert steps == [[0, 15], [15, 15]]


def test_what_is_made_of_parts_from_prediction_is_trained():
    x = torch.rand(30, 3, 16, 16)
    student = polychromatic_segmentation((2, 3), width=8, context=(1,)).eval()
    config = TrainConfig(epochs=1, batch_size=9)
    labels = torch.zeros(30, 16, 16, dtype=torch.int64)
    around = HybridNetwork(student.frontend, student.backend)
    for model in (digital_twin(student), packed(student, x), around):
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [int(norm.num_batches_tracked) for norm in norms]
        distill(model, None, (x, labels), method="ce", config=config)
        assert [int(norm.num_batches_tracked) for norm in norms] == [n + 3 for n in before]


class Follows(nn.Module):
    """A running mean that is not saved with the weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6), persistent=False)

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0) + 0.1
        return self.layer(x - self.mean)


def test_every_rate_starts_from_the_same_buffers_also_those_that_are_not_saved(data):
    models = [Follows(), Follows()]
    runs = [distill(model, None, data, method="ce", config=CONFIG, tune=tune)
            for model, tune in zip(models, [(1e-5, 1e-2), (1e-2,)], strict=True)]  # fmt: skip
    assert runs[0].config["lr"] == 1e-2
    assert runs[0].history.equals(runs[1].history)
    assert torch.equal(models[0].mean, models[1].mean)
