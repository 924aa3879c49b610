"""Weights and schedules of loss terms."""

import pytest
import torch

from photonet.distill import KD, METHODS, NTK, CrossEntropy, warm_up
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
