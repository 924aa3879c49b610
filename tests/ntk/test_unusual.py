"""Layers that are used, changed or made in other ways than usual: no closed rule can be taken for granted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from photonet import ntk
from photonet.errors import InvalidArgument
from photonet.nn import OpticalConv2d

from .test_empirical import EXACT, by_jacrev, reference


class Monitored(nn.Module):
    """A pool whose result is looked at, and used for nothing."""

    def __init__(self, grad: bool) -> None:
        super().__init__()
        self.convolution, self.pool, self.head = nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Linear(32, 2)
        self.grad = grad

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolution(x)
        with torch.set_grad_enabled(self.grad and torch.is_grad_enabled()):
            self.seen = self.pool(maps).detach()
        return self.head(maps.flatten(1))


class TwoPools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.used, self.unused = nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.AvgPool2d(4)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolution(x)
        used, _ = self.used(maps), self.unused(maps)
        return self.head(used.flatten(1))


class TimeFirst(nn.Module):
    """With as many moments as samples, the wrong axis looks like that of the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x.transpose(0, 1))).transpose(0, 1).mean(1))


class TimeInside(TimeFirst):
    """The same axis, but not one of the model's own input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(1, (3, 4)))


class Squeezed(nn.Module):
    """Takes no single sample; its channels are as many as its samples."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), nn.Linear(3, 2)
        self.squeezes = True

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.tanh(self.second(self.first(x))).mean((2, 3), keepdim=True)
        return self.head(maps.squeeze() if self.squeezes else maps.flatten(1))


class Doubled(OpticalConv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_hook(layer: nn.Module, function: Callable[[Tensor], Tensor]) -> nn.Module:
    layer.register_forward_hook(lambda module, args, out: function(out))
    return layer


def extra() -> nn.Module:
    layer = nn.Linear(3, 4)
    layer.register_parameter("unused", nn.Parameter(torch.ones(2)))
    return layer


def dense(first: nn.Module) -> nn.Module:
    return nn.Sequential(first, nn.Tanh(), nn.Linear(4, 2))


def pictures(*layers: nn.Module, features: int = 32) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 2))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "a pool that nobody reads": (lambda: Monitored(True), (1, 6, 6)),
    "a pool without a gradient": (lambda: Monitored(False), (1, 6, 6)),
    "two pools, one of which is read": (TwoPools, (1, 6, 6)),
    "time before samples": (TimeFirst, (3, 4)),
    "time inside before samples": (TimeInside, (12,)),
    "a hook on a dense layer": (lambda: dense(with_hook(nn.Linear(3, 4), torch.tanh)), (3,)),
    "a hook on a convolution": (lambda: pictures(with_hook(nn.Conv2d(1, 2, 3), torch.relu)), (1, 6, 6)),
    "a hook on a pool": (
        lambda: pictures(nn.Conv2d(1, 2, 3), with_hook(nn.AvgPool2d(2), torch.tanh), features=8), (1, 6, 6)
    ),
    "a hook in place": (lambda: dense(with_hook(nn.Linear(3, 4), torch.relu_)), (3,)),
    "another forward": (lambda: pictures(Doubled(1, 2, 3), features=72), (1, 6, 6)),
    "pruned": (lambda: dense(prune.l1_unstructured(nn.Linear(3, 4), "weight", 0.5)), (3,)),
    "weight norm by a hook": (lambda: dense(nn.utils.weight_norm(nn.Linear(3, 4))), (3,)),
    "spectral norm by a hook": (lambda: dense(nn.utils.spectral_norm(nn.Linear(3, 4))), (3,)),
    "a parameter that is not used": (lambda: dense(extra()), (3,)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:There is a performance drop")
@pytest.mark.parametrize("name", MODELS)
def test_the_kernel_is_that_of_plain_gradients(name: str) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model = build().double().eval()
    x = torch.randn(3, *shape, dtype=torch.float64)
    model(x)  # what hooks make of weights is there
    before = {k: v for m in model.modules() for k, v in vars(m).items() if isinstance(v, Tensor)}
    rows = by_jacrev(model, x).flatten(1)
    exact = rows @ rows.mT
    torch.testing.assert_close(ntk.gram(model, x), exact, rtol=EXACT, atol=EXACT * float(exact.max()))
    for module in model.modules():  # and no wrapper of torch.func stays behind
        for key in before.keys() & vars(module).keys():
            assert type(vars(module)[key]) in (Tensor, nn.Parameter)
            vars(module)[key].sum().item()


def test_a_model_that_takes_no_single_sample_is_believed() -> None:
    torch.manual_seed(0)
    model, x = Squeezed(), torch.rand(3, 1, 6, 6)
    found = ntk.gram(model, x)
    model.squeezes = False
    torch.testing.assert_close(found, ntk.gram(model, x))


def test_dropout_needs_one_pass() -> None:
    model, x = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)).train(), torch.rand(6, 3)
    assert bool((torch.linalg.eigvalsh(ntk.gram(model, x).detach()) > -1e-5).all())
    for more in ({"chunk": 2}, {"x2": x[:2]}):
        with pytest.raises(InvalidArgument, match="model: expected the same network for all samples"):
            ntk.gram(model, x, **more)
    assert ntk.gram(model.eval(), x, chunk=2).shape == (6, 6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_has_no_tangents_is_named() -> None:
    x = torch.rand(4, 3)
    program = torch.jit.trace(nn.Linear(3, 2), x)
    for model, words in {
        program: "model: expected layers in Python",
        nn.Sequential(nn.Linear(3, 2), Complex()): "model: expected outputs that are real numbers",
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2)).eval(): "x: expected samples that the model takes",
    }.items():
        with pytest.raises(InvalidArgument, match=words):
            ntk.gram(model, x)
    model = nn.Linear(3, 2)
    for options, words in (
        ({"params": 5}, "params: expected a name"),
        ({"outputs": torch.tensor(1.0)}, "outputs: expected real directions"),
        ({"outputs": torch.tensor([float("nan"), 1.0])}, "outputs: expected finite"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            ntk.gram(model, x, **options)
    with pytest.raises(InvalidArgument, match="method"):
        ntk.tangents(model, x, method="jvp")
    with pytest.raises(InvalidArgument, match="x2: expected the dtype of x"):
        ntk.infinite_gram(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4).double(), kernel=3)


class Complex(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.complex64)


class ByFunction(nn.Module):
    """A slope that is read outside of its layer, so the whole model goes through torch.func."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.slope, self.head = nn.Linear(5, 6), nn.PReLU(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.prelu(self.first(x), self.slope.weight))


class TimeFirstWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.words(x.t())).mean(0))


class Turned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope, self.head = nn.PReLU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.slope(x.t()).t())


class Placed(nn.Module):
    """Places have an embedding of their own: as many of them as samples look like samples."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.body, self.head = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x + self.places(torch.arange(x.shape[1])))).mean(1))


class Generated(nn.Module):
    """A dense layer whose weights another layer makes of five constants."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.head = nn.Linear(1, 4), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.linspace(0, 1, 5, dtype=x.dtype)[:, None]
        return self.head(torch.tanh(x @ self.make(rows).T))


class TwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(4))
        self.b = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x + self.b


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("build", "x"),
    [(ByFunction, torch.randn(5, 5, dtype=torch.float64)),
     (TimeFirstWords, torch.randint(0, 9, (5, 5))),
     (TimeFirstWords, torch.randint(0, 9, (5, 4))),
     (Turned, torch.randn(5, 4, dtype=torch.float64)),
     (Placed, torch.randn(5, 5, 4, dtype=torch.float64)),
     (Generated, torch.randn(5, 4, dtype=torch.float64)),
     (lambda: nn.Sequential(TwoNames(), nn.Linear(4, 2)), torch.randn(5, 4, dtype=torch.float64))],
)  # fmt: skip
def test_an_axis_as_long_as_that_of_the_samples_is_not_taken_for_it(
    build: Callable[[], nn.Module], x: Tensor, n: int
) -> None:
    torch.manual_seed(0)
    model, x = build().double(), x[:n]
    j = reference(model, x)
    exact = torch.einsum("acp,bcp->ab", j, j)
    for method in ("auto", "jacobian"):
        found = ntk.gram(model, x, method=method)
        torch.testing.assert_close(found, exact, rtol=EXACT, atol=EXACT * float(exact.max()))


def test_a_dense_layer_as_wide_as_the_batch_stays_on_the_fast_road() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert set(ntk.tangents(model, torch.randn(4, 4)).rules.values()) == {"Linear"}


def test_what_was_cut_without_gradients_from_a_tensor_that_has_one() -> None:
    x = torch.randn(5, 3, requires_grad=True)
    with torch.no_grad():
        assert ntk.gram(nn.Linear(3, 2), x[:4]).shape == (4, 4)
