import numpy as np
import pytest
import torch
from torch import nn

from photonet.distill import (
    fit_full_map,
    fit_nonlinear_map,
    fit_ridge_map,
    fit_wiener_map,
    merge_into_backend,
)
from photonet.errors import GridMismatch, InvalidArgument
from photonet.models import compressed_meta


def maps(n=40, channels=3, size=8, seed=0):
    """Feature maps, dark at their edges, so that a displacement loses nothing."""
    inner = torch.randn(
        n, channels, size - 4, size - 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return nn.functional.pad(inner, (2, 2, 2, 2))


def recovered(measured, simulated, **options):
    found = fit_ridge_map(measured, simulated, **options)(measured)
    return float((found - simulated).norm() / simulated.norm())


def test_gain_crosstalk_and_offset_are_undone():
    simulated = maps()
    mixing = torch.tensor([[0.8, 0.1, 0.1], [0.2, 1.1, 0.0], [0.0, 0.3, 0.6]], dtype=torch.float64)
    offset = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)
    measured = torch.einsum("ab,nbyx->nayx", mixing, simulated) + offset[:, None, None]
    # the least ridge is 1e-6 of the mean diagonal; the mixing has a condition number of 2, the
    # offset is seen through zero padding at the edges only: an error of order 1e-5 is left
    assert recovered(measured, simulated) < 1e-4
    assert recovered(measured, simulated, neighbourhood=1) < 1e-4


@pytest.mark.parametrize("step", [(1, 0), (0, -1), (-1, 1)])
def test_a_displacement_within_the_neighbourhood_is_undone(step):
    simulated = maps()
    measured = simulated.roll(step, (-2, -1))
    assert recovered(measured, simulated, neighbourhood=3) < 1e-4
    assert recovered(measured, simulated, neighbourhood=1) > 0.5  # too small to see the neighbour


def test_noise_is_weighed_against_the_fit():
    simulated = maps(n=80)
    noise = torch.randn(simulated.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    measured = 0.5 * simulated + noise
    fitted = fit_ridge_map(measured[:40], simulated[:40])(measured[40:])
    # Wiener: variance 1/4 of signal before scaling against 1 of noise leaves 80 % of the variance at best
    # where there is signal; without the map the error is that of the noise itself
    assert (fitted - simulated[40:]).square().mean() < (measured[40:] - simulated[40:]).square().mean() / 3


def test_dead_and_constant_channels_do_no_harm():
    simulated = maps()
    measured = torch.cat(
        [simulated, torch.zeros_like(simulated[:, :1]), torch.ones_like(simulated[:, :1])], 1
    )
    assert recovered(measured, simulated) < 1e-3


def test_the_map_keeps_type_and_does_not_train():
    conv = fit_ridge_map(maps().float(), maps().float())
    assert conv.weight.dtype == torch.float32
    assert not any(p.requires_grad for p in conv.parameters())


@pytest.mark.parametrize(
    ("measured", "simulated", "options", "error", "words"),
    [
        (maps(), maps(), {"neighbourhood": 2}, InvalidArgument, "neighbourhood: expected an odd"),
        (maps(5), maps(4), {}, GridMismatch, "simulated: expected"),
        (maps(size=9), maps(), {}, GridMismatch, "simulated: expected"),
        (maps()[0], maps(), {}, InvalidArgument, "measured: expected axes"),
        (maps(1), maps(1), {}, InvalidArgument, "two or more scenes"),
        (maps() * float("nan"), maps(), {}, InvalidArgument, "NaN"),
    ],
)
def test_bad_input_is_named(measured, simulated, options, error, words):
    with pytest.raises(error, match=words):
        fit_ridge_map(measured, simulated, **options)


@pytest.mark.parametrize("bias", [True, False])
def test_merging_is_exact(bias):
    conv = nn.Conv2d(3, 2, 3, padding=1).double()
    backend = nn.Sequential(
        nn.Flatten(), nn.Linear(2 * 8 * 8, 5, bias=bias), nn.ReLU(), nn.Linear(5, 2)
    ).double()
    merged = merge_into_backend(conv, backend, (3, 8, 8))
    torch.testing.assert_close(merged(maps()), backend(conv(maps())), atol=1e-12, rtol=1e-12)
    assert len(merged) == len(backend)  # not a layer more


def test_another_backend_gets_the_map_in_front():
    conv = nn.Conv2d(3, 2, 3, padding=1).double()
    backend = nn.Sequential(nn.Conv2d(2, 1, 3), nn.Flatten()).double()
    torch.testing.assert_close(merge_into_backend(conv, backend, (3, 8, 8))(maps()), backend(conv(maps())))


def test_a_map_of_other_features_is_merged_into_a_students_backend():
    backend = compressed_meta(2, binning=14, hidden=4).backend  # 2 x 2 x 2 features
    pool = nn.AvgPool2d(3)  # of measured maps with three times the pixels
    seen = torch.rand(3, 2, 6, 6)
    torch.testing.assert_close(merge_into_backend(pool, backend, (2, 6, 6))(seen), backend(pool(seen)))


def test_the_wiener_map_is_the_regression_on_many_noisy_examples():
    clean = maps(3000, channels=2, size=6)
    clean = clean + clean.roll(1, -1)
    noise = torch.tensor([0.5, 1.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    noisy = clean + noise[:, None, None] * torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    wiener, regression = fit_wiener_map(clean, clean, noise), fit_full_map(noisy, clean)
    fresh = maps(500, channels=2, size=6, seed=2)
    # 3,000 examples for 72 features: the regression's weights scatter by about sqrt(72 / 3000) of the error
    difference = (wiener(fresh) - regression(fresh)).square().mean()
    assert difference < 0.1 * (wiener(noisy) - clean).square().mean()


def test_noise_of_another_number_of_channels_is_refused():
    with pytest.raises(GridMismatch, match="noise"):
        fit_wiener_map(maps(), maps(), torch.ones(2))
    with pytest.raises(GridMismatch, match="wanted"):
        fit_wiener_map(maps(5), maps(4), torch.ones(3))


X, ONE = torch.rand(20, 2, 3, 3), torch.ones(2)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (lambda: fit_wiener_map(X * torch.nan, X, ONE), "clean: expected finite values"),
        (lambda: fit_wiener_map(X, X * torch.nan, ONE), "wanted: expected finite values"),
        (lambda: fit_wiener_map(X, X, ONE * torch.nan), "noise: expected finite values"),
        (lambda: fit_wiener_map(X, X, -5 * ONE), "noise: expected standard deviations, got -5"),
        (lambda: fit_wiener_map(X[:0], X[:0], ONE), "clean: expected two or more examples"),
        (lambda: merge_into_backend(nn.Conv2d(2, 2, 1), nn.Flatten(), (2, 5)), "shape: expected 3 whole"),
    ],
)
def test_what_cannot_be_fitted_or_merged_is_named(fit, words):
    with pytest.raises(InvalidArgument, match=words):
        fit()


def test_a_width_of_numpy_is_a_width():
    assert fit_ridge_map(X, X, neighbourhood=np.int64(3)).kernel_size == (3, 3)


def test_a_map_to_nothing_is_finite():
    """A perfect fit leaves no noise, and the precision of the pixels' gains overflowed."""
    found = fit_nonlinear_map(X, torch.zeros_like(X))(X)
    assert torch.equal(found, torch.zeros_like(X))
