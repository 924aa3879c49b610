"""A straight device is described by its own kernels, whatever they are."""

import pytest
import torch
import torch.nn.functional as F

from photonet.distill import correct
from photonet.distill.candidates import Setting, Workshop
from photonet.distill.kernels import fit_kernels
from photonet.errors import GridMismatch, InvalidArgument
from photonet.measured import Measured, Registration
from photonet.measured.lab import warp
from photonet.models import compressed_meta, polychromatic_meta
from photonet.nn import HybridNetwork
from photonet.optics.imaging import image_by_kernels

UPRIGHT = Registration(0.0, 0.0, 0.0, 0.0, (0.0,) * 4, 0.0, 0.0)
TURNED = Registration(0.15, -0.1, 0.4, -0.3, (0.0,) * 4, 0.0, 0.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n, colours=1, size=28, seed=1):
    coarse = torch.rand(n, colours, 14, 14, generator=generator(seed))
    return F.interpolate(coarse, size=size, mode="bilinear")


def device(student, seed=2):
    """Kernels that are not the designed ones: mixed among each other, and another part besides."""
    weight = student.optics.weight.detach()
    mixing = torch.eye(len(weight)) + 0.3 * torch.randn(len(weight), len(weight), generator=generator(seed))
    mixed = torch.einsum("kj,jcyx->kcyx", mixing, weight)
    return mixed + 0.3 * mixed.std() * torch.randn(mixed.shape, generator=generator(seed + 1))


def measured(student, scenes, kernels, registration=UPRIGHT, noise=0.0):
    seen = image_by_kernels(registration.apply(scenes), kernels)
    maps = F.avg_pool2d(seen, student.optics.binning) + 0.05
    return Measured(scenes, maps + noise * torch.randn(maps.shape, generator=generator(5)))


@pytest.mark.parametrize(("colours", "size"), [(1, 5), (1, 4), (3, 3)])
def test_the_kernels_of_the_device_are_found(colours, size):
    student = (
        compressed_meta(kernels=3) if colours == 1 else polychromatic_meta(4, readout="linear", hidden=(16,))
    )
    weight = student.optics.weight
    student.optics.set_kernels(torch.randn(*weight.shape[:2], size, size, generator=generator(3)))
    pixels = 28 if colours == 1 else 32
    scenes = torch.rand(80, colours, pixels, pixels, generator=generator(4))
    kernels = device(student)
    found = fit_kernels(student, measured(student, scenes, kernels), UPRIGHT)
    border = (found.kernels.shape[-1] - kernels.shape[-1]) // 2
    torch.testing.assert_close(found.kernels, F.pad(kernels, (border,) * 4), atol=1e-2, rtol=0)
    torch.testing.assert_close(found.offset, torch.full_like(found.offset, 0.05), atol=1e-2, rtol=0)
    assert float(found.noise.max()) < 1e-3


def test_what_is_left_is_the_noise():
    student = compressed_meta(kernels=4)
    found = fit_kernels(student, measured(student, pictures(100), device(student), noise=0.02), UPRIGHT)
    assert found.noise == pytest.approx([0.02] * 4, rel=0.1)


def test_on_a_turned_bench_new_scenes_are_foretold():
    student = compressed_meta(kernels=4)
    kernels = device(student)
    found = fit_kernels(student, measured(student, pictures(100), kernels, TURNED), TURNED)
    new = measured(student, pictures(50, seed=9), kernels, TURNED)
    left = (found(new.scenes) - new.features).norm() / (new.features - new.features.mean()).norm()
    assert float(left) < 0.05  # light from beyond the border is not the same


def test_correction_takes_them_where_the_kernels_are_what_is_wrong():
    student = compressed_meta(kernels=4)
    scenes = pictures(100)
    moved = warp(image_by_kernels(scenes, device(student)), 0.1, 0.05, 0.3, 0.2)
    frames = Measured(scenes, F.avg_pool2d(moved, student.optics.binning))
    result = correct(student, frames, fraction=1.0, method="calibration", scenes=pictures(600, seed=8))
    errors = {name: value for name, value in result.metrics.items() if name.startswith("features/")}
    assert min(errors, key=errors.__getitem__) == "features/registered kernels"
    assert (result.kept, result.calibration) == ("calibration", "registered kernels")
    layers = list(result.student.backend.children())
    assert isinstance(layers[1], torch.nn.Linear)  # merged: inference costs nothing more
    assert layers[1].in_features == frames.features[0].numel()


def test_a_map_that_stays_in_front_is_not_trained():
    """A matrix of all features by all: taught by a few frames, it would overfit."""
    student = compressed_meta(kernels=2, kernel_size=3)
    convolution = torch.nn.Conv2d(2, 4, 3, padding=1)
    backend = torch.nn.Sequential(convolution, torch.nn.Flatten(), torch.nn.Linear(196, 10))
    student = HybridNetwork(student.frontend, backend.requires_grad_(False))
    scenes = pictures(60)
    with torch.no_grad():
        frames = Measured(scenes, 0.7 * student.features(scenes) + 0.1)
    for name in ("full", "registered shared"):  # one map in front, and two
        workshop = Workshop(Setting(student, scenes, UPRIGHT), frames)
        plain, tuned = (workshop.backend(way, name) for way in ("calibration", "calibration+self-kd"))
        before, after = plain.state_dict(), tuned.state_dict()
        changed = {before[key].shape for key in before if not torch.equal(before[key], after[key])}
        assert changed == {value.shape for value in backend.state_dict().values()}


def test_features_of_another_size_are_refused():
    student = compressed_meta(kernels=2, kernel_size=3)
    with pytest.raises(GridMismatch, match=r"frames: expected features \[n, \(2, 7, 7\)\]"):
        fit_kernels(student, Measured(pictures(4), torch.rand(4, 3, 7, 7)), UPRIGHT)


def test_other_frontends_are_refused():
    student = HybridNetwork(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.Flatten())
    frames = Measured(torch.rand(4, 1, 8, 8), torch.rand(4, 2, 8, 8))
    with pytest.raises(InvalidArgument, match="frontend: expected an OpticalConv2d or a MaskConv2d"):
        fit_kernels(student, frames, UPRIGHT)
