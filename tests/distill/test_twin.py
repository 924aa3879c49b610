"""Correction of devices that are turned, enlarged and bend their response: the twin, and what is chosen."""

import importlib
import math
from dataclasses import replace

import pytest
import torch

from photonet.distill import CORRECTIONS, correct, fit_full_map, fit_twin, merge_into_backend, predict
from photonet.distill.chain import candidates_of
from photonet.distill.judge import frame_divergence
from photonet.distill.twin import Displaced, Twin, captures, displaced_scenes
from photonet.errors import GridMismatch, InvalidArgument, UnknownName
from photonet.grid import Grid
from photonet.measured import Measured
from photonet.measured.lab import warp
from photonet.measured.register import Registration
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork, MaskConv2d
from photonet.optics.imaging import image_by_kernels


@pytest.fixture(scope="module")
def student():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return compressed_meta(kernels=3, kernel_size=5, hidden=24)


@pytest.fixture
def quick(monkeypatch):
    """Shorter descents, where the question is not how near they come."""
    # by name: the attribute photonet.distill is the function
    twin, candidates = (
        importlib.import_module(f"photonet.distill.{name}") for name in ("twin", "candidates")
    )
    monkeypatch.setattr(twin, "STEPS", 60)
    monkeypatch.setattr(candidates, "TWIN_TUNING", replace(candidates.TWIN_TUNING, epochs=2))


def scenes(n, seed=0):
    """Smooth random scenes, dark at the border."""
    noise = torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)
    window = torch.hann_window(28, periodic=False)
    return (3 * smooth * window[:, None] * window).clamp(0, 1)


def turned(student, shown):
    """A device that is turned by 10 degrees, enlarged by a tenth, and bends its response."""
    maps = image_by_kernels(shown, student.optics.weight.detach())
    return torch.tanh(torch.nn.functional.avg_pool2d(warp(maps, 0.17, 0.1, 0.5, -0.4), 4)) + 0.02


def relative(a, b):
    return ((a - b).norm() / (b - b.mean(dim=(0, 2, 3), keepdim=True)).norm()).item()


def test_a_perfect_device_is_left_alone(student, quick):
    shown = scenes(40)
    measured = Measured(shown, predict(student.frontend, shown))
    result = correct(student, measured, fraction=1.0, scenes=scenes(200, 1))
    assert result.kept in ("none", "calibration")
    assert result.metrics[f"{result.kept}/loss"] <= result.metrics["none/loss"] + 1e-9
    torch.testing.assert_close(
        predict(result.student.backend, measured.features), predict(student, shown), atol=1e-3, rtol=0
    )


def test_a_device_that_is_only_noisy_is_not_made_worse(student):
    def noisy(maps, seed):
        generator = torch.Generator().manual_seed(seed)
        return maps + 0.1 * maps.std() * torch.randn(maps.shape, generator=generator)

    shown, fresh = scenes(40), scenes(200, 2)
    result = correct(student, Measured(shown, noisy(predict(student.frontend, shown), 3)), fraction=1.0)
    seen, wanted = noisy(predict(student.frontend, fresh), 4), predict(student, fresh)
    after, before = (
        frame_divergence(predict(one, seen), wanted) for one in (result.student.backend, student.backend)
    )
    # what is kept may be as good (one in six draws), so two standard errors of the difference are allowed
    assert (after - before).mean() < 2 * (after - before).std() / len(fresh) ** 0.5


def test_auto_is_never_worse_on_held_out_frames_and_says_why(student, quick):
    shown = scenes(50)
    result = correct(student, Measured(shown, turned(student, shown)), fraction=1.0, scenes=scenes(400, 1))
    losses = {name: result.metrics[f"{name}/loss"] for name in candidates_of("auto")}
    assert losses[result.kept] < losses["none"] / 4
    assert result.calibration.startswith("registered")
    assert result.reason.startswith(f"{result.kept} ({result.calibration}): loss")
    assert result.metrics[f"features/{result.calibration}"] < 0.5 * result.metrics["features/before"]
    assert result.metrics["registration/after"] < result.metrics["registration/before"]
    fresh = scenes(100, 2)
    wanted = predict(student, fresh)
    error = (predict(result.student.backend, turned(student, fresh)) - wanted).norm()
    assert error < 0.5 * (predict(student.backend, turned(student, fresh)) - wanted).norm()


def test_the_twin_finds_geometry_and_predicts_new_scenes(student):
    shown, fresh = scenes(40), scenes(60, 1)
    twin, registration = fit_twin(student, Measured(shown, turned(student, shown)))
    assert abs(registration.rotation - 0.17) < math.radians(0.5)
    before = relative(predict(student.frontend, fresh), turned(student, fresh))
    assert relative(predict(twin, fresh), turned(student, fresh)) < 0.2 * before


def test_the_twin_finds_how_a_sensor_bends_and_what_falls_on_it(student):
    psf, digital, _ = captures(student.frontend)
    corners = torch.linspace(-1, 1, 28).square()
    falloff = torch.exp(-0.4 * (corners[:, None] + corners) / 2)
    stray = torch.tensor([0.02, 0.0, 0.05, 0.01, 0.03, 0.0])[:, None, None]

    def device(shown):
        light = warp(image_by_kernels(shown, psf.flatten(0, 1)), 0.1, -0.1, 0.5, -0.4) * falloff + stray
        seen = torch.nn.functional.avg_pool2d(torch.tanh(2 * light) / 2, 4)
        maps = seen.unflatten(1, (2, -1)) * digital[..., None, None]
        return maps[:, 0] - maps[:, 1]

    shown, fresh = scenes(60), scenes(60, 1)
    twin, _ = fit_twin(student, Measured(shown, device(shown)))
    assert relative(predict(twin, fresh), device(fresh)) < 0.05
    assert relative(predict(student.frontend, fresh), device(fresh)) > 0.4
    displaced = displaced_scenes(fresh, twin.registration, twin.kernels)
    seen = twin.measure(displaced, torch.Generator().manual_seed(0)) - predict(twin, fresh)
    # the noise is what the fit left, to the scatter of 60 scenes of 49 features
    torch.testing.assert_close(seen.std(dim=(0, 2, 3)), twin.noise[:, 0, 0], rtol=0.1, atol=0)


@pytest.mark.parametrize("orientation", ["upright", "turned by 90 degrees"])
@pytest.mark.parametrize("size", [(5, 5), (6, 4)])
def test_before_it_is_fitted_the_twin_is_the_displaced_design(student, size, orientation):
    """Turned kernels on a turned scene give the turned image: light is counted once, and axes meet."""

    class Optics(MaskConv2d):
        def psf(self):
            return kernels

    y, x = (torch.arange(n) - n // 2 for n in size)
    smooth = torch.exp(-(y[:, None].square() + 0.5 * x.square()) / 2)
    kernels = smooth * torch.tensor([0.1, 0.05])[:, None, None, None, None]
    optics = Optics(1, grid=Grid(32, 1e-6), wavelength=525e-9, distance=1e-3, pixel=8, binning=2)
    network = HybridNetwork(optics, torch.nn.Identity())
    bench = Registration(0.2, -0.15, 0.6, -0.3, (0.0,) * 4, 1.0, 0.0, orientation)
    twin = Twin(network, bench, (28, 28))
    twin.response.data.fill_(-6.0)  # as good as linear
    shown = scenes(5)
    # the spline through 28 samples, and kernels that are cut off one pixel around the designed ones
    assert relative(predict(twin, shown), predict(Displaced(network, bench, (28, 28)), shown)) < 0.02


def test_a_device_behind_a_lens_is_corrected(student):
    """Its image is turned by 180 degrees, as behind any lens that is not simulated."""
    shown, fresh = scenes(60), scenes(100, 2)
    upright = correct(student, Measured(shown, turned(student, shown)), fraction=1.0, method="calibration")
    behind = Measured(shown, turned(student, shown).flip((-2, -1)))
    result = correct(student, behind, fraction=1.0, method="calibration")
    assert result.registration.orientation == "turned by 180 degrees"
    assert result.calibration.startswith("registered")
    wanted = predict(student, fresh)
    errors = [
        (predict(found.student.backend, seen) - wanted).norm()
        for found, seen in (
            (upright, turned(student, fresh)), (result, turned(student, fresh).flip((-2, -1)))
        )
    ]  # fmt: skip
    assert errors[1] < 1.1 * errors[0]


def test_the_twin_teaches_what_the_teacher_knows(student):
    shown = scenes(60)
    measured = Measured(shown, turned(student, shown))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        teacher = compressed_meta(kernels=3, kernel_size=5, hidden=24)  # that disagrees with the student
    taught, own = (
        correct(student, measured, fraction=1.0, method="twin", scenes=scenes(200, 1), teacher=guide)
        for guide in (teacher, None)
    )
    assert taught.kept == own.kept == "twin"
    fresh = scenes(100, 2)
    seen = turned(student, fresh)
    lost = {
        name: [frame_divergence(predict(result.student.backend, seen), predict(guide, fresh)).mean().item()
               for guide in (teacher, student)]
        for name, result in {"taught": taught, "own": own}.items()
    }  # fmt: skip
    assert lost["taught"][0] < 0.5 * lost["own"][0]
    assert lost["own"][1] < 0.5 * lost["taught"][1]


def test_auto_makes_a_twin_only_where_there_are_clean_scenes(student):
    shown = scenes(12)
    result = correct(student, Measured(shown, turned(student, shown)), fraction=1.0)
    assert "calibration/loss" in result.metrics
    assert "twin/loss" not in result.metrics


def test_a_teacher_of_other_classes_is_refused(student):
    measured = Measured(scenes(12), turned(student, scenes(12)))
    with pytest.raises(GridMismatch, match=r"^teacher: expected outputs \(10,\)"):
        correct(student, measured, fraction=1.0, teacher=compressed_meta(classes=3))


def test_a_full_map_undoes_a_rotation_and_merges_into_the_backend(student):
    measured = torch.rand(300, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    wanted = measured.rot90(1, (2, 3)) * 2 + 0.3
    full = fit_full_map(measured, wanted)
    assert relative(full(measured), wanted) < 1e-3
    merged = merge_into_backend(full, student.backend, (3, 7, 7))
    torch.testing.assert_close(merged(measured), student.backend(full(measured)), atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in merged.parameters()) == sum(p.numel() for p in student.backend.parameters())


def test_the_strength_of_a_full_map_is_that_of_explicit_leave_one_out():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(30, 1, 3, 3, generator=generator, dtype=torch.float64)
    y = x + 2.0 * torch.randn(x.shape, generator=generator, dtype=torch.float64)

    def left_out(strength):
        error = 0.0
        for i in range(30):
            keep = torch.arange(30) != i
            a, b = x[keep].flatten(1), y[keep].flatten(1)
            mean = (x.flatten(1) - x.flatten(1).mean(0)).square().sum() / 9
            gram = (a - a.mean(0)).T @ (a - a.mean(0)) + strength * mean * torch.eye(9, dtype=a.dtype)
            weight = torch.linalg.solve(gram, (a - a.mean(0)).T @ (b - b.mean(0)))
            error += (
                ((x[i].flatten() - a.mean(0)) @ weight + b.mean(0) - y[i].flatten()).square().sum().item()
            )
        return error, weight

    from photonet.distill.calibrate import STRENGTHS

    best = min(STRENGTHS, key=lambda s: left_out(s)[0])
    a, b = x.flatten(1), y.flatten(1)
    a, b = a - a.mean(0), b - b.mean(0)
    penalty = best * a.square().sum() / 9 * torch.eye(9, dtype=a.dtype)
    expected = torch.linalg.solve(a.T @ a + penalty, a.T @ b)
    torch.testing.assert_close(fit_full_map(x, y)[1].weight.T, expected)


def test_self_kd_needs_neither_labels_nor_teacher(student):
    shown = scenes(40)
    result = correct(student, Measured(shown, turned(student, shown)), fraction=1.0, method="self-kd")
    assert result.kept in ("none", "self-kd")


def test_same_seed_same_network(student, quick):
    shown = scenes(12)
    measured, more = Measured(shown, turned(student, shown)), scenes(40, 1)
    first, second = (
        correct(student, measured, fraction=1.0, method="twin", scenes=more, seed=5) for _ in range(2)
    )
    for a, b in zip(first.student.parameters(), second.student.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_missing_is_named(student):
    measured = Measured(scenes(20), turned(student, scenes(20)))
    with pytest.raises(InvalidArgument, match="labels"):
        correct(student, measured, fraction=1.0, method="ce")
    with pytest.raises(InvalidArgument, match="6 of"):
        correct(student, measured, fraction=0.1)
    with pytest.raises(UnknownName, match="method"):
        correct(student, measured, method="magic")
    assert {"auto", "twin", "self-kd", "calibration", "none"} <= set(CORRECTIONS)
