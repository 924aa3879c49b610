"""Maps of several optics in one tensor."""

import copy

import pytest
import torch
from torch import nn

from photonet import correct
from photonet.distill import DeviceNoise
from photonet.errors import GridMismatch, InvalidArgument
from photonet.measured import Measured
from photonet.models import (
    SideBySide,
    compressed_meta,
    extreme_meta,
    packed,
    polychromatic_segmentation,
    unet,
)
from photonet.nn import HybridNetwork


@pytest.mark.parametrize(
    "build", [lambda: polychromatic_segmentation((2, 3, 1), width=8), lambda: extreme_meta((2, 3), (5, 3))]
)
def test_nothing_is_lost_and_gradients_arrive(build):
    torch.manual_seed(0)
    student, x = build().eval(), torch.rand(2, 3, 16, 24)
    one = packed(student, x)
    assert torch.equal(one(x), student(x))
    sizes = [m.numel() for m in student.features(x)]
    assert one.features(x).numel() == sum(sizes)
    slopes = torch.autograd.grad(one(x).sum(), list(student.frontend.parameters()))
    assert all(float(slope.abs().max()) > 0 for slope in slopes)


def test_a_segmentation_device_is_corrected():
    torch.manual_seed(0)
    x = torch.rand(24, 3, 16, 16)
    student = packed(polychromatic_segmentation((2, 2), width=8).eval(), x)
    noise = DeviceNoise(gain=0.3, shift=0.0, kernel=0.1)
    device = noise.make(student.frontend, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, seen = student(x), device(x)
        measured = Measured(x[:12], seen[:12])
        found = correct(student, measured, fraction=1.0, method="calibration")
        before, after = (
            (backend(seen[12:]) - wanted[12:]).square().mean()
            for backend in (student.backend, found.student.backend)
        )
    assert found.kept == "calibration"
    assert after < 0.5 * before


def test_what_cannot_be_packed_is_named():
    with pytest.raises(InvalidArgument, match="^student.*one tensor"):
        packed(compressed_meta(), torch.rand(1, 1, 28, 28))
    for none in ([], [None]):
        with pytest.raises(InvalidArgument, match="^fronts: expected"):
            SideBySide(none)
    fronts = SideBySide([nn.AvgPool2d(2), nn.AvgPool2d(3)])
    with pytest.raises(GridMismatch, match="^scene"):
        packed(HybridNetwork(fronts, nn.Identity()), torch.rand(1, 1, 12, 12))


def test_looking_at_a_scene_changes_nothing():
    plain = polychromatic_segmentation((2, 3), width=8)
    front = nn.Sequential(nn.BatchNorm2d(3), plain.frontend)
    student = HybridNetwork(front, plain.backend).train()
    before = copy.deepcopy(student.state_dict())
    packed(student, torch.rand(1, 3, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(part.training for part in student.modules())
    with pytest.raises(InvalidArgument, match="student: expected a HybridNetwork"):
        packed(unet(), torch.rand(1, 3, 16, 16))
