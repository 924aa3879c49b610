import pytest
import torch

from photonet.distill import CORRECTIONS, TrainConfig, correct, distill, predict
from photonet.errors import InvalidArgument, UnknownName
from photonet.measured import Measured

QUICK = TrainConfig(epochs=3, batch_size=16, lr=1e-3)


@pytest.fixture
def trained(network, scenes):
    distill(
        network, None, scenes, val=scenes, method="ce", config=TrainConfig(epochs=25, batch_size=24, lr=2e-2)
    )
    assert (predict(network, scenes[0]).argmax(1) == scenes[1]).all()
    return network


def measure(network, scenes, spoil=lambda maps: maps, labels=True):
    with torch.no_grad():
        return Measured(scenes[0], spoil(network.features(scenes[0])), scenes[1] if labels else None)


def swap(maps):
    return 0.4 * maps.flip(1) + 0.3


def wins(network, measured, labels):
    return float((predict(network.backend, measured.features).argmax(1) == labels).double().mean())


def test_calibration_brings_a_linear_error_back_without_labels(trained, scenes):
    measured = measure(trained, scenes, swap, labels=False)
    before = wins(trained, measured, scenes[1])
    result = correct(trained, measured, fraction=0.5, method="calibration")
    assert result.kept == "calibration"
    assert before < 0.7
    assert wins(result.student, measured, scenes[1]) == 1.0


@pytest.mark.parametrize("method", CORRECTIONS)
def test_what_is_kept_is_never_worse_on_the_held_out_part(method, trained, scenes):
    for spoil in (swap, lambda maps: 0.95 * maps, lambda maps: maps.roll(1, -1)):
        measured = measure(trained, scenes, spoil)
        result = correct(trained, measured, teacher=trained, fraction=0.5, method=method, config=QUICK)
        best = result.metrics[f"{result.kept}/agreement"]
        assert best >= result.metrics["none/agreement"]
        assert result.kept in {"none", "calibration", method}


def test_a_perfect_device_stays_as_it_is(trained, scenes):
    measured = measure(trained, scenes)
    reckless = TrainConfig(epochs=3, batch_size=16, lr=3.0)
    result = correct(trained, measured, fraction=0.5, method="ce", config=reckless)
    assert result.kept == "none"
    assert torch.equal(predict(result.student.backend, measured.features),
                       predict(trained.backend, measured.features))  # fmt: skip


def test_the_network_that_came_in_is_not_touched(trained, scenes):
    before = [p.detach().clone() for p in trained.parameters()]
    correct(trained, measure(trained, scenes, swap), fraction=0.5, method="calibration+ce", config=QUICK)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))


def test_the_same_seed_gives_the_same_correction(trained, scenes):
    measured = measure(trained, scenes, swap)
    a, b = (correct(trained, measured, fraction=0.5, method="ce", config=QUICK, seed=1) for _ in range(2))
    assert a.metrics == b.metrics
    assert torch.equal(
        predict(a.student.backend, measured.features), predict(b.student.backend, measured.features)
    )


def test_too_few_frames(trained, scenes):
    with pytest.raises(InvalidArgument, match=r"^fraction: expected at least 6 of the 120"):
        correct(trained, measure(trained, scenes), fraction=0.04, method="calibration")


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_fractions_outside_0_to_1(fraction, trained, scenes):
    with pytest.raises(InvalidArgument, match="^fraction"):
        correct(trained, measure(trained, scenes), fraction=fraction, method="calibration")


def test_what_a_method_needs_is_asked_for(trained, scenes):
    with pytest.raises(InvalidArgument, match="measured: expected labels"):
        correct(trained, measure(trained, scenes, labels=False), fraction=0.5, method="ce")
    with pytest.raises(InvalidArgument, match="teacher: expected"):
        correct(trained, measure(trained, scenes), fraction=0.5, method="kd")
    with pytest.raises(UnknownName, match="did you mean calibration"):
        correct(trained, measure(trained, scenes), method="calibrate")
