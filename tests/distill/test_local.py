"""Calibration of pixels that differ by a small matrix at each position, drawn towards what all share."""

import pytest
import torch

from photonet.design import kernels_to_masks
from photonet.distill import correct, fit_local_map, fit_ridge_map, merge_into_backend, predict
from photonet.errors import GridMismatch, InvalidArgument
from photonet.measured import make_devices
from photonet.models import compressed_meta


def maps(n, seed=0, channels=2, size=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=generator, dtype=torch.float64)


def spoiled(simulated):
    """Crosstalk of another strength at each position, and an offset of each pixel."""
    share = torch.linspace(0, 0.5, 49, dtype=torch.float64).reshape(7, 7)
    return (1 - share) * simulated + share * simulated.flip(1) + share


def relative(found, wanted):
    return float((found - wanted).norm() / (wanted - wanted.mean(0)).norm())


def test_what_differs_from_place_to_place_is_undone_on_new_scenes():
    train, fresh = maps(100), maps(100, seed=1)
    local, shared = (
        relative(fit(spoiled(train), train)(spoiled(fresh)), fresh) for fit in (fit_local_map, fit_ridge_map)
    )
    # half and half the channels cannot be told apart, and near it not from the shared map's neighbours
    assert local < 0.3 * shared


@pytest.mark.parametrize("n", [2, 6, 50])
def test_equal_pixels_keep_what_all_share(n):
    train, fresh = maps(n), maps(200, seed=1)
    noise = 0.2 * torch.randn(200, 2, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    local, shared = (fit(0.5 * train + noise[:n], train) for fit in (fit_local_map, fit_ridge_map))
    errors = [relative(found(0.5 * fresh + noise), fresh) for found in (local, shared)]
    assert errors[0] < 1.02 * errors[1]


def test_a_dark_pixel_keeps_what_the_others_share():
    simulated = maps(40)
    measured = spoiled(simulated)
    measured[:, :, 3, 3] = 0.0
    found = fit_local_map(measured, simulated)
    assert torch.isfinite(found.weight).all()
    assert float(found.weight[:, 2:, 3, 3].abs().max()) < 1e-9  # of what was measured there


def test_it_merges_into_a_dense_layer_keeps_type_and_does_not_train():
    found = fit_local_map(spoiled(maps(20)).float(), maps(20).float())
    assert not any(p.requires_grad for p in found.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backend = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(98, 3))
    merged, seen = merge_into_backend(found, backend, (2, 7, 7)), maps(5).float()
    assert len(merged) == len(backend)
    torch.testing.assert_close(merged(seen), backend(found(seen)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("measured", "simulated", "error", "words"),
    [
        (maps(5), maps(4), GridMismatch, "simulated"),
        (maps(1), maps(1), InvalidArgument, "two or more"),
        (maps(3) * float("nan"), maps(3), InvalidArgument, "NaN"),
    ],
)
def test_bad_input_is_named(measured, simulated, error, words):
    with pytest.raises(error, match=words):
        fit_local_map(measured, simulated)


def scenes(n, seed):
    coarse = torch.rand(n, 1, 7, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=28, mode="bilinear")


def test_a_device_with_vignetting_and_unequal_pixels_comes_nearer_than_by_the_shared_map():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = compressed_meta(kernels=2, kernel_size=3)
    design = kernels_to_masks(
        student.optics.weight, wavelength=525e-9, distance=0.8e-3, pitch=1e-6, pixel=8, samples=72, steps=50
    )
    student.optics.set_kernels(design.kernels())
    device = make_devices(design, {"vignetting": [0.35], "pixel_gain": [0.3]}, [1], binning=4)[0]
    shown, fresh = scenes(100, 1), scenes(200, 2)
    measured, wanted = device.measure(shown, exposure=1), predict(student.frontend, fresh)
    seen, simulated = device.measure(fresh, exposure=2).features, predict(student.frontend, shown)
    local, shared = (
        relative(fit(measured.features, simulated)(seen), wanted) for fit in (fit_local_map, fit_ridge_map)
    )
    assert local < 0.6 * shared
    metrics = correct(student, measured, fraction=1.0, method="calibration").metrics
    assert metrics["features/local"] < 0.6 * metrics["features/shared"]
