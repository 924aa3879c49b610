"""Weights and schedules of loss terms."""

import copy

import pytest
import torch
from torch import nn

from photonet.distill import (
    KD,
    METHODS,
    NTK,
    CrossEntropy,
    KernelResidual,
    TrainConfig,
    distill,
    during,
    warm_up,
)
from photonet.distill.terms import Batch, needs
from photonet.errors import InvalidArgument


def test_schedules_are_straight_between_their_points():
    term = NTK(2.0, schedule=((0.2, 0.0), (0.4, 1.0), (1.0, 0.5)))
    weights = [term.weight_at(t) for t in (0.0, 0.2, 0.3, 0.4, 0.7, 1.0)]
    assert weights == pytest.approx([0, 0, 1, 2, 1.5, 1])
    assert [CrossEntropy().weight_at(t) for t in (0.0, 1.0)] == [1, 1]
    assert NTK(schedule=warm_up(0.5)).weight_at(0.25) == pytest.approx(0.5)


def test_wrong_settings_are_named():
    with pytest.raises(InvalidArgument, match="weight"):
        KD(-1.0)
    with pytest.raises(InvalidArgument, match="schedule"):
        KD(schedule=((0.5, 1.0), (0.2, 0.0)))
    for smoothing in (-0.1, 1.0, 3.0):
        with pytest.raises(InvalidArgument, match="^smoothing"):
            CrossEntropy(smoothing=smoothing)
    with pytest.raises(InvalidArgument, match="form"):
        NTK(form="cosine")
    with pytest.raises(InvalidArgument, match="teacher"):
        KD()(Batch(torch.zeros(2, 3)))


def test_the_methods_ask_only_for_what_they_use():
    assert {name: needs(terms) for name, terms in METHODS.items()} == {
        "ce": {"labels"},
        "kd": {"labels", "teacher"},
        "features": {"labels", "features"},
        "ntkd-paper": {"labels", "gram"},
        "ntkd": {"labels", "teacher", "gram"},
    }
    assert needs([CrossEntropy(), KD(0.0)]) == {"labels"}
    assert needs([KernelResidual()]) == {"teacher", "kernel"}


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), nn.Sequential(
        nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3)
    )


@pytest.fixture
def data():
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(2))
    return x, torch.arange(60) % 3


def test_kernels_can_start_a_run_that_distillation_finishes(networks, data):
    method = (NTK(schedule=during(0.0, 0.5)), KD(0.9, schedule=during(0.5, 1.0)))
    history = distill(*networks, data, method=method, config=TrainConfig(epochs=4, batch_size=16)).history
    assert history["ntk"].notnull().values.tolist() == [True, True, False, False]
    assert history["kd"].notnull().values.tolist() == [False, False, True, True]


def test_a_schedule_of_two_times_runs_forward():
    with pytest.raises(InvalidArgument, match="^stop: expected more than start"):
        during(0.5, 0.5)


@pytest.mark.parametrize("outputs", ["random", "classes", "trace", "full"])
@pytest.mark.parametrize("centred", [False, True])
def test_a_network_has_its_own_kernel_however_it_is_asked(outputs, centred, networks, data):
    teacher = networks[1]
    config = TrainConfig(epochs=1, batch_size=18, lr=1e-9)
    method = [NTK(form="cka", centred=centred, outputs=outputs)]
    run = distill(copy.deepcopy(teacher), teacher, data, method=method, config=config)
    # see test_both_kernels_look_along_the_same_direction: the error of the sketch, of at most 18 x 3 rows
    assert 0 < float(run.history["ntk"][0]) < 2 * 18 * (3 if outputs == "full" else 1) / 512 / 2


def test_whole_kernels_of_many_outputs_are_refused():
    model, x = nn.Conv2d(1, 2, 3, padding=1), torch.rand(6, 1, 8, 8)
    with pytest.raises(InvalidArgument, match="NTK outputs: expected 'random' or 'classes' for more than 64"):
        distill(model, model, (x, torch.zeros(6, 8, 8).long()), method=[NTK(outputs="trace")])


def test_the_residual_is_measured_in_the_teachers_norm(networks, data):
    student, teacher = networks
    run = distill(student, teacher, data, method=[KernelResidual(strength=0.3)],
                  config=TrainConfig(epochs=30, batch_size=54, lr=2e-2, weight_decay=0.0))  # fmt: skip
    values = run.history["residual"].values
    assert values[-1] < 0.3 * values[0]
