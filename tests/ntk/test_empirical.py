from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from photonet import ntk
from photonet.errors import InvalidArgument, UnknownName

from .conftest import MODELS, build

# Both sides sum some thousands of float64 products of order one: 1e-10 leaves four digits of room.
EXACT = 1e-10


def reference(model: nn.Module, x: Tensor) -> Tensor:
    """Jacobian [n, C, P], one plain backward pass per sample and output."""
    parameters = list(model.parameters())
    rows = []
    for sample in x:
        outputs = model(sample[None]).reshape(-1)
        gradients = [
            torch.autograd.grad(out, parameters, retain_graph=True, materialize_grads=True) for out in outputs
        ]
        rows.append(torch.stack([torch.cat([g.reshape(-1) for g in each]) for each in gradients]))
    return torch.stack(rows)


def by_jacrev(model: nn.Module, x: Tensor) -> Tensor:
    """The same by vmap(jacrev), as the tutorials of torch do it."""
    parameters = dict(model.named_parameters())

    def one(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(model, values, (sample[None],))[0].reshape(-1)

    jacobians = torch.func.vmap(torch.func.jacrev(one), (None, 0))(parameters, x)
    return torch.cat([j.flatten(2) for j in jacobians.values()], dim=2).detach()


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_agrees_with_plain_gradients(name: str) -> None:
    model, x = build(name)
    j = reference(model, x)
    scale = float(j.square().sum(2).max())
    full = torch.einsum("acp,bdp->abcd", j, j)
    v = torch.randn(2, j.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(ntk.gram(model, x, outputs="full"), full, rtol=0, atol=EXACT * scale)
    expected = full.diagonal(dim1=2, dim2=3).sum(2)
    torch.testing.assert_close(ntk.gram(model, x), expected, rtol=0, atol=EXACT * scale)
    expected = torch.einsum("abcd,mc,md->ab", full, v, v)
    torch.testing.assert_close(ntk.gram(model, x, outputs=v), expected, rtol=0, atol=10 * EXACT * scale)
    torch.testing.assert_close(
        ntk.gram(model, x, x[:2], outputs="sum"), full.sum((2, 3))[:, :2], rtol=0, atol=10 * EXACT * scale
    )


@pytest.mark.parametrize("method", ["auto", "jacobian"])
@pytest.mark.parametrize("name", [name for name in MODELS if "dense" not in name])
def test_as_many_samples_as_outputs(name: str, method: str) -> None:
    n = build(name)[0](build(name)[1]).shape[1]
    model, x = build(name, n=n)
    j = reference(model, x)
    expected = torch.einsum("acp,bcp->ab", j, j)
    scale = float(expected.max())
    torch.testing.assert_close(ntk.gram(model, x, method=method), expected, rtol=0, atol=EXACT * scale)


@pytest.mark.parametrize("method", ["auto", "jacobian"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_of_the_kernel_is_that_of_finite_differences(name: str, method: str) -> None:
    model, x = build(name, n=4)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    parameters = list(model.parameters())
    start = [p.detach().clone() for p in parameters]
    direction = [torch.randn(p.shape, dtype=torch.float64, generator=generator) for p in start]
    gradients = torch.autograd.grad(
        (ntk.gram(model, x, method=method) * weight).sum(), parameters, materialize_grads=True
    )
    found = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    step, ends = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for p, v, d in zip(parameters, start, direction, strict=True):
                p.copy_(v + sign * step * d)
            # by the one-sample Jacobians of plain gradients, which share nothing with what is tested
        j = reference(model, x)
        ends.append(float((torch.einsum("acp,bcp->ab", j, j) * weight).sum()))
    # central differences: error of order step^2 times the third derivative, and rounding / step
    scale = sum(float((g * d).abs().sum()) for g, d in zip(gradients, direction, strict=True))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(found, abs=1e-6 * max(scale, 1.0))


def test_agrees_with_jacrev() -> None:
    model, x = build("conv2d")
    j = by_jacrev(model, x)
    torch.testing.assert_close(ntk.gram(model, x), torch.einsum("acp,bcp->ab", j, j), rtol=EXACT, atol=EXACT)


def test_gradcheck_through_the_kernel() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)).double()
    x = torch.randn(3, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    names = [name for name, _ in model.named_parameters()]

    def kernel(*values: Tensor) -> Tensor:
        with torch.no_grad():
            for p, value in zip(model.parameters(), values, strict=True):
                p.copy_(value)
        return ntk.gram(model, x)

    values = [p.detach().clone() for p in model.parameters()]
    weight = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(
        (kernel(*values) * weight).sum(), list(model.parameters()), materialize_grads=True
    )
    step = 1e-5
    for k, name in enumerate(names):
        tangent = torch.randn(
            values[k].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(k)
        )
        ends = []
        for sign in (1, -1):
            moved = [v + sign * step * tangent if i == k else v for i, v in enumerate(values)]
            ends.append(float((kernel(*moved).detach() * weight).sum()))
        # central differences: error of order step^2 times the third derivative, and rounding / step
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(
            float((found[k] * tangent).sum()), rel=1e-6
        ), name


def test_chunks_change_nothing() -> None:
    model, x = build("conv2d", n=7)
    for outputs in ("trace", "full"):
        whole = ntk.gram(model, x, outputs=outputs)
        torch.testing.assert_close(
            ntk.gram(model, x, outputs=outputs, chunk=3), whole, rtol=1e-12, atol=1e-10
        )
        torch.testing.assert_close(
            ntk.gram(model, x, x[:5], outputs=outputs, chunk=2), whole[:, :5], rtol=1e-12, atol=1e-10
        )


class _Halved(torch.autograd.Function):
    """A derivative by NumPy, which cannot take a batch of directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.from_numpy(gradients[0].detach().numpy() / 2)


def test_directions_in_several_passes_or_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return _Halved.apply(x)

    model, x = build("linear")
    whole = ntk.gram(model, x)
    by_hand = nn.Sequential(model, Half())
    with torch.no_grad():
        torch.testing.assert_close(4 * ntk.gram(by_hand, x), whole)
    elements = len(x) * (4 + 3)
    monkeypatch.setattr("photonet.ntk.jacobian.TOGETHER", 2 * elements)  # two of the three directions
    torch.testing.assert_close(ntk.gram(model, x), whole)


def test_mixed_precision_has_gradients_too() -> None:
    model, x = build("conv2d and pool")
    model, x = model.float(), x.float()
    exact = ntk.gram(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kernel = ntk.gram(model, x)
    # eight bits of mantissa: 0.4 % each for a few factors
    assert float((kernel - exact).detach().norm() / exact.detach().norm()) < 0.05
    assert kernel.dtype == torch.float32
    weight = model[0].weight
    found, expected = (torch.autograd.grad(k.sum(), weight)[0] for k in (kernel, exact))
    assert float((found - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("full", [False, True])
def test_what_samples_differ_in_survives_mixed_precision(full: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    x = 1 + 0.3 * torch.rand(12, 1, 8, 8)  # nearly alike: 0.2 % of the kernel is left after centring
    wanted = ntk.center(x.flatten(1) @ x.flatten(1).mT)

    def kernel(low: bool) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            found = ntk.gram(model, x, outputs="full" if full else "trace")
        return found.diagonal(dim1=2, dim2=3).sum(2) if full else found

    exact, mixed = kernel(low=False), kernel(low=True)
    assert ntk.alignment(exact.bfloat16().float(), exact) < 0.9  # what rounding to eight bits leaves
    assert ntk.alignment(mixed, exact) > 0.97
    slopes = [
        torch.autograd.grad(ntk.alignment(k, wanted), model[0].weight)[0].flatten() for k in (exact, mixed)
    ]
    assert torch.nn.functional.cosine_similarity(*slopes, dim=0) > 0.9


def test_parameters_can_be_chosen_in_four_ways() -> None:
    model, x = build("linear")
    front = ntk.gram(model, x, params="0")
    back = ntk.gram(model, x, params=lambda name: name.startswith("2"))
    torch.testing.assert_close(front + back, ntk.gram(model, x))
    torch.testing.assert_close(ntk.gram(model, x, params=model[0].parameters(), chunk=2), front)
    model[0].requires_grad_(False)
    torch.testing.assert_close(ntk.gram(model, x), back)


def test_random_directions_estimate_the_trace(generator: torch.Generator) -> None:
    model, x = build("linear")
    exact = ntk.gram(model, x)
    estimate = ntk.gram(model, x, outputs="random", directions=4000, generator=generator)
    # The variance of one +-1 draw is at most 2 |K_ab|_F^2 over the outputs; four standard errors.
    full = ntk.gram(model, x, outputs="full")
    bound = 4 * (2 * full.square().sum((2, 3)) / 4000).sqrt()
    assert bool(((estimate - exact).abs() <= bound).all())


def test_without_gradients_nothing_is_kept() -> None:
    model, x = build("conv2d")
    with torch.no_grad():
        kernel = ntk.gram(model, x)
    assert not kernel.requires_grad
    torch.testing.assert_close(kernel, ntk.gram(model, x).detach())


def test_inference_mode_is_left_for_the_derivatives() -> None:
    model, x = build("conv2d")
    with torch.inference_mode():
        kernel = ntk.gram(model, x.clone())
    torch.testing.assert_close(kernel, ntk.gram(model, x).detach())


@settings(deadline=None, max_examples=12)
@given(
    name=st.sampled_from(["conv2d strided, dilated", "residual", "tied embedding", "conv2d and pool"]),
    n=st.integers(1, 6),
    chunk=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_a_kernel_is_symmetric_positive_and_follows_the_samples(
    name: str, n: int, chunk: int, seed: int
) -> None:
    model, _ = build(name)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *MODELS[name][0], generator=generator, dtype=torch.float64)
    order = torch.randperm(n, generator=generator)
    with torch.no_grad():
        kernel = ntk.gram(model, x)
        scale = float(kernel.diagonal().max())
        near = {"rtol": 0, "atol": 1e-12 * scale}  # some thousands of roundings of 1e-16
        torch.testing.assert_close(kernel, kernel.mT, **near)
        assert torch.linalg.eigvalsh(kernel).min() > -1e-12 * scale
        torch.testing.assert_close(ntk.gram(model, x[order]), kernel[order][:, order], **near)
        torch.testing.assert_close(ntk.gram(model, x, chunk=chunk), kernel, **near)
        torch.testing.assert_close(ntk.gram(model, x, x[order]), kernel[:, order], **near)


def test_forward_gram_returns_what_the_two_calls_return() -> None:
    model, x = build("residual")
    v = torch.randn(1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits, kernel = ntk.forward_gram(model, x, outputs=v)
    torch.testing.assert_close(logits, model(x))
    torch.testing.assert_close(kernel, ntk.gram(model, x, outputs=v))
    (logits.sum() + kernel.sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_rules_that_were_used_can_be_asked() -> None:
    used = {
        "conv2d and pool": ("0.weight", "Conv2d and AvgPool2d"),
        "pool and skip": ("conv.weight", "Conv2d"),
        "bilinear readout": ("1.directions", "vjp"),
        "attention": ("attention.in_proj_weight", "network"),
        "declared": ("0.weight", "Declared"),
    }
    for name, (parameter, rule) in used.items():
        assert ntk.tangents(*build(name)).rules[parameter] == rule


def test_an_unreached_parameter_has_a_zero_kernel() -> None:
    model, x = build("residual")
    model.unused = nn.Linear(5, 5).double()
    assert ntk.gram(model, x, params="unused").eq(0).all()
    assert ntk.gram(model, x, params="unused", outputs="full").shape == (5, 5, 3, 3)


def test_the_slow_road_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model, x = build("borrowed weight")
    with caplog.at_level(logging.WARNING, "photonet.ntk"):
        ntk.gram(model, x)
        ntk.gram(model, x)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "inner.weight" in caplog.text
    assert ntk.tangents(model, x).rules["inner.weight"] == "network"
    with pytest.raises(InvalidArgument, match=r"inner\.weight"):
        ntk.gram(model, x, method="structured")


def test_a_layer_without_a_rule_is_said_once_for_its_class(caplog: pytest.LogCaptureFixture) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * x

    with caplog.at_level(logging.WARNING, "photonet.ntk"):
        for _ in range(2):
            model = nn.Sequential(Own(), nn.Linear(3, 3), Own())
            assert ntk.tangents(model, torch.rand(4, 3)).rules["0.weight"] == "vjp"
    assert caplog.text.count("Own has no closed rule") == 1


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_attention_has_the_gradient_of_its_kernel_in_single_precision_too() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model, x = nn.Sequential(layer, nn.Flatten(), nn.Linear(40, 2)), torch.randn(4, 5, 8)
    ntk.gram(model, x).sum().backward()
    assert bool(torch.isfinite(layer.self_attn.in_proj_weight.grad).all())


def test_random_directions_of_a_network_in_training_are_refused_before_it_is_asked() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(InvalidArgument, match="independent samples"):
        ntk.gram(model, torch.rand(4, 3), outputs="random", generator=torch.Generator())
    assert int(model[1].num_batches_tracked) == 0
    with pytest.raises(InvalidArgument, match="model: expected a torch module, got str 'foo'"):
        ntk.gram("foo", torch.rand(4, 3))
    with pytest.raises(InvalidArgument, match="directions: expected a whole number"):
        ntk.forward_gram(model.eval(), torch.rand(4, 3), generator=torch.Generator(), directions=0)


def test_rates_of_gradients_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="x: expected samples with finite gradients, got nan for"):
        ntk.adam_rates(nn.Linear(3, 2), torch.full((4, 3), torch.nan))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], dtype: torch.dtype, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = kind(3, 4, batch_first=True, num_layers=2, dropout=dropout, dtype=dtype)
        self.head = nn.Linear(4, 2, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN, nn.LSTM])
def test_recurrent_layers_go_sample_by_sample_where_vmap_cannot(
    kind: type[nn.RNNBase], dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    model, x = Recurrent(kind, dtype), torch.randn(4, 5, 3, dtype=dtype)
    with caplog.at_level(logging.WARNING, "photonet.ntk"):
        found = ntk.gram(model, x)
        ntk.gram(model, x)
    assert caplog.text.count("one by one") == (0 if (kind, dtype) == (nn.LSTM, torch.float32) else 1)
    j = reference(model, x)
    torch.testing.assert_close(found, torch.einsum("acp,bcp->ab", j, j))
    # and its gradient, against a difference: along one direction of one weight
    weight, step = model.layer.weight_hh_l0, 1e-4
    if dtype == torch.float64:
        slope = torch.autograd.grad(found.sum(), weight)[0].sum()
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(sign * step)
                sums.append(float(ntk.gram(model, x).sum()))
                weight.sub_(sign * step)
        # central differences: error of order step^2
        assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(float(slope), rel=1e-5)


class Dropping(nn.Module):
    """A parameter without a layer, behind dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, self.training) @ self.weight


def test_dropped_units_are_those_of_the_forward_pass_or_refused() -> None:
    torch.manual_seed(0)
    one, x = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1)), torch.ones(40, 1)
    # a dropped sample leaves the bias alone, the others are doubled
    for options in ({}, {"method": "jvp", "size": 4000, "generator": torch.Generator().manual_seed(0)}):
        diagonal = ntk.gram(one, x, **options).detach().diagonal()
        near = torch.minimum((diagonal - 1).abs(), (diagonal - 5).abs() / 5)
        assert float(near.max()) < 5 * (2 / 4000) ** 0.5  # five standard errors of the estimate
        assert 1.5 < float(diagonal.mean()) < 4.5
    for model, x, method in (
        (one, torch.ones(3, 1), "jacobian"),
        (Dropping(), torch.ones(3, 5), "auto"),
        (Recurrent(nn.GRU, torch.float32, dropout=0.5), torch.ones(3, 4, 3), "auto"),
    ):
        with pytest.raises(InvalidArgument, match=r"^model: .*no random numbers.*model\.eval"):
            ntk.gram(model, x, method=method)
        assert ntk.gram(model.eval(), x, method=method).shape == (3, 3)


def test_bad_input_is_named() -> None:
    model, x = build("linear")
    with pytest.raises(UnknownName, match="jacobian"):
        ntk.gram(model, x, method="jacobain")
    with pytest.raises(InvalidArgument, match="generator"):
        ntk.gram(model, x, outputs="random")
    with pytest.raises(InvalidArgument, match=r"directions \[m, 3\]"):
        ntk.gram(model, x, outputs=torch.ones(2, 4))
    with pytest.raises(InvalidArgument, match="prefix"):
        ntk.gram(model, x, params="backend")
    with pytest.raises(InvalidArgument, match="does not own"):
        ntk.gram(model, x, params=[torch.ones(2)])
    with pytest.raises(InvalidArgument, match="at least one sample"):
        ntk.gram(model, x[:0])
    model[0].weight.requires_grad_(False)
    with pytest.raises(InvalidArgument, match="frozen"):
        ntk.gram(model, x, params="0")
    with pytest.raises(InvalidArgument, match="trainable"):
        ntk.gram(model.requires_grad_(False), x)


ROADS: list[dict[str, Any]] = [
    {},
    {"method": "jacobian"},
    {"method": "jvp"},
    {"method": "sketch"},
    {"outputs": "random"},
]


@pytest.mark.parametrize("road", ROADS)
def test_samples_that_the_model_does_not_take_are_named(
    road: dict[str, Any], generator: torch.Generator
) -> None:
    model, x = build("linear")
    with pytest.raises(InvalidArgument, match=r"^x: .*the model takes, got shape \(\d, 4\)"):
        ntk.gram(model, x[:, :4], generator=generator, **road)
    with pytest.raises(InvalidArgument, match=r"^x2: .*the model takes, got shape \(5, 4\)"):
        ntk.gram(model, x, x[:, :4], generator=generator, **road)
    with pytest.raises(InvalidArgument, match=r"^x: .*of torch\.float32"):
        ntk.gram(model, x.float(), generator=generator, **road)


class Several(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        return self.kind({"logits": self.layer(x)}.items())


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("kind", [tuple, dict])
def test_outputs_that_are_not_one_tensor_are_named(
    kind: type, road: dict[str, Any], generator: torch.Generator
) -> None:
    with pytest.raises(InvalidArgument, match=rf"^model: expected one tensor .*got {kind.__name__}"):
        ntk.gram(Several(kind), torch.ones(2, 5), generator=generator, **road)


@pytest.mark.parametrize("road", [{"method": "jvp"}, {"method": "sketch"}, {"outputs": "random"}])
def test_a_seed_is_not_a_generator(road: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"^generator: expected a torch\.Generator for .*got 0"):
        ntk.gram(*build("linear"), generator=0, **road)


def test_batch_normalisation_must_be_frozen() -> None:
    model, x = build("batch_norm2d")
    model.train()
    with pytest.raises(InvalidArgument, match="frozen_statistics"):
        ntk.gram(model, x)
    with ntk.frozen_statistics(model):
        frozen = ntk.gram(model, x)
    assert model.training
    assert model[1].training
    torch.testing.assert_close(frozen, ntk.gram(model.eval(), x))


def test_an_input_changed_after_the_call_is_refused() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            entry = x * 2
            out = self.layer(entry)
            entry.zero_()
            return out

    with pytest.raises(InvalidArgument, match="in place"):
        ntk.gram(Careless(), torch.ones(2, 5))


def test_rates_weigh_the_parts_of_the_kernel() -> None:
    model, x = build("linear")
    first = next(iter(dict(model.named_parameters())))
    parts = {name: ntk.gram(model, x, params=name) for name, _ in model.named_parameters()}
    expected = sum(parts.values()) + 2 * parts[first]
    torch.testing.assert_close(ntk.gram(model, x, rates={first: 3.0}), expected)
    torch.testing.assert_close(ntk.gram(model, x, rates={first: 3.0}, chunk=2), expected)


def test_adams_rates_make_every_root_mean_square_gradient_one() -> None:
    model = nn.Linear(6, 4, dtype=torch.float64)
    x = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rates = ntk.adam_rates(model, x)
    # along signs of the outputs the bias sees 1 and the weight x, so the rates are as 1 to 1 / rms(x)
    assert rates["weight"] / rates["bias"] == pytest.approx(float(x.square().mean() ** -0.5))
    assert (24 * rates["weight"] + 4 * rates["bias"]) / 28 == pytest.approx(1)


def test_a_rate_of_a_parameter_that_is_not_there_is_named() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(UnknownName, match="did you mean weight"):
        ntk.gram(model, torch.ones(4, 3), rates={"weihgt": 1.0})
    with pytest.raises(InvalidArgument, match="rates"):
        ntk.gram(model, torch.ones(4, 3), rates={"weight": 1.0}, method="sketch")
