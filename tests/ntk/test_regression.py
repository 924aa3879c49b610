from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import ntk
from photonet.errors import InvalidArgument


def data(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    y = torch.stack([x[:, 0] + 10, x[:, 1] - x[:, 2]], dim=1)
    return x, y + 0.1 * torch.randn(n, 2, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=15)
@given(n=st.integers(3, 12), seed=st.integers(0, 99), strength=st.floats(1e-3, 1e3))
def test_closed_form_is_the_fit_without_the_sample(n: int, seed: int, strength: float) -> None:
    x, y = data(n, seed)
    k = x @ x.mT
    fit = ntk.regress(k, y, strength=strength)
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        without = ntk.regress(k[rest][:, rest], y[rest], strength=strength) if n > 2 else fit
        torch.testing.assert_close(fit.left_out[i], without.predict(k[i, rest]), rtol=1e-6, atol=1e-8)


def test_fit_minimises_the_ridge_objective() -> None:
    x, y = data(15)
    fit = ntk.regress(x @ x.mT, y, strength=0.7)
    # the primal problem with an unpenalised intercept, solved by its normal equations
    centred = x - x.mean(0)
    w = torch.linalg.solve(centred.mT @ centred + 0.7 * torch.eye(4), centred.mT @ (y - y.mean(0)))
    new, _ = data(5, seed=3)
    torch.testing.assert_close(fit.predict(new @ x.mT), (new - x.mean(0)) @ w + y.mean(0))


def test_strength_is_chosen_by_the_error_asked_for() -> None:
    x, y = data(40)
    noise = torch.randn(40, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    k = x @ x.mT
    # nothing to learn asks for a strong ridge, clean data for a weak one
    assert ntk.regress(k, noise).strength > ntk.regress(k, y).strength
    new, targets = data(30, seed=5)
    chosen = ntk.regress(k, y, validation=(new @ x.mT, targets))
    error = (chosen.predict(new @ x.mT) - targets).square().mean()
    for factor in (10**-0.5, 10**0.5):
        other = ntk.regress(k, y, strength=chosen.strength * factor)
        assert (other.predict(new @ x.mT) - targets).square().mean() >= error


def test_spectrum_of_known_kernels() -> None:
    s = ntk.spectrum(torch.ones(4, 4, dtype=torch.float64))
    torch.testing.assert_close(
        s.values, torch.tensor([4.0, 0, 0, 0], dtype=torch.float64), atol=1e-12, rtol=0
    )
    assert s.participation == pytest.approx(1)
    assert ntk.spectrum(torch.eye(5)).participation == pytest.approx(5)
    assert ntk.spectrum(torch.eye(5)).dimension(1.0) == pytest.approx(2.5)
    assert ntk.spectrum(1e-25 * torch.eye(5)).participation == pytest.approx(5)
    assert ntk.spectrum(torch.zeros(5, 5)).participation == 0


def test_leverage_sums_to_the_effective_dimension() -> None:
    x, _ = data(10)
    k = x @ x.mT
    scores = ntk.leverage(k, 0.5)
    expected = (k @ torch.linalg.inv(k + 0.5 * torch.eye(10, dtype=k.dtype))).diagonal()
    torch.testing.assert_close(scores, expected)
    assert scores.sum().item() == pytest.approx(ntk.spectrum(k).dimension(0.5))


def test_greedy_choice_is_the_best_next_sample() -> None:
    x, _ = data(9)
    k, noise = x @ x.mT, 0.3

    def gain(chosen: list[int]) -> float:
        part = k[chosen][:, chosen] + noise * torch.eye(len(chosen), dtype=k.dtype)
        return float(torch.logdet(part) - len(chosen) * torch.tensor(noise).log())

    chosen = ntk.informative(k, 5, strength=noise).tolist()
    assert len(set(chosen)) == 5
    for step in range(5):
        options = {i: gain([*chosen[:step], i]) for i in range(9) if i not in chosen[:step]}
        assert options[chosen[step]] == pytest.approx(max(options.values()))


def test_bad_input_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"targets \[3\]"):
        ntk.regress(torch.eye(3), torch.ones(4))
    with pytest.raises(InvalidArgument, match=r"targets \[3\].*got list"):
        ntk.regress(torch.eye(3), [1.0, 2.0, 3.0])
    with pytest.raises(InvalidArgument, match="NaN"):
        ntk.regress(torch.full((2, 2), torch.nan), torch.ones(2))
    with pytest.raises(InvalidArgument, match="at most the 2"):
        ntk.informative(torch.eye(2), 3, strength=1.0)
    with pytest.raises(InvalidArgument, match="at least 2 samples"):
        ntk.spectrum(torch.ones(1, 1))


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((torch.ones(2, 5), torch.ones(2, 2)), r"validation\[0\]: expected a kernel \[..., 3\].*\(2, 5\)"),
        ((torch.ones(2, 3), torch.ones(4, 2)), r"validation\[1\]: expected targets \[2, 2\].*\(4, 2\)"),
        ((torch.ones(2, 3), torch.ones(2)), r"validation\[1\]: expected targets \[2, 2\].*\(2,\)"),
        (torch.ones(2, 3), "validation: expected a pair .*got Tensor"),
        ((torch.ones(0, 3), torch.ones(0, 2)), r"validation\[0\]: .* one sample, got shape \(0, 3\)"),
        ((torch.ones(1, 2, 3), torch.ones(1, 2)), r"validation\[0\]: .*\[n_val, 3\].*\(1, 2, 3\)"),
    ],
)
def test_validation_of_another_shape_is_named(validation: Any, message: str) -> None:
    # targets of one column would be compared with both, without a word
    with pytest.raises(InvalidArgument, match=message):
        ntk.regress(torch.eye(3), torch.ones(3, 2), validation=validation)


def test_predictions_take_the_kernel_with_the_training_samples() -> None:
    fit = ntk.regress(torch.eye(3), torch.ones(3), strength=1.0)
    with pytest.raises(InvalidArgument, match=r"^k: expected a kernel \[..., 3\].*\(2, 4\)"):
        fit.predict(torch.ones(2, 4))
    with pytest.raises(InvalidArgument, match="^k: expected a kernel .* of torch.complex64"):
        fit.predict(torch.ones(2, 3, dtype=torch.complex64))
    k = torch.ones(2, 3, requires_grad=True)
    assert fit.predict(k).requires_grad


@pytest.mark.parametrize("short", [torch.float16, torch.bfloat16])
def test_short_kernels_are_computed_in_single_precision(short: torch.dtype) -> None:
    x, y = data(12)
    k = (x @ x.mT).to(short)
    fit, wanted = ntk.regress(k, y), ntk.regress(k.float(), y)
    assert fit.coefficients.dtype == torch.float32
    assert torch.equal(fit.left_out, wanted.left_out)
    assert torch.equal(ntk.spectrum(k).values, ntk.spectrum(k.float()).values)
    assert torch.equal(fit.predict(k), wanted.predict(k.float()))


def test_predictions_have_the_precision_of_the_fit() -> None:
    x, y = data(12)
    fit = ntk.regress(x @ x.mT, y)
    k = (x @ x.mT).float()
    assert torch.equal(fit.predict(k), fit.predict(k.double()))
