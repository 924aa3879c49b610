from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from photonet import ntk
from photonet.errors import InvalidArgument, UnknownName

from .conftest import build


def wide() -> tuple[nn.Module, torch.Tensor]:
    """Both roads of the CountSketch: a large linear layer and small others."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 60), nn.ReLU(), nn.Linear(60, 3))
    return model, torch.randn(6, 1, 8, 8)


@pytest.mark.parametrize("kind", ["count", "gaussian"])
def test_mean_over_seeds_is_the_kernel(kind: str) -> None:
    model, x = wide()
    with torch.no_grad():
        found = ntk.tangents(model, x, outputs="sum")
        features = torch.stack([ntk.Sketch(256, kind, seed)(found) for seed in range(80)])
    rows = features.flatten(2)
    kernels = rows @ rows.mT
    exact = found.gram()
    # five standard errors of the mean, entry by entry
    assert bool(((kernels.mean(0) - exact).abs() < 5 * kernels.std(0) / 80**0.5).all())


@pytest.mark.parametrize("kind", ["count", "gaussian"])
def test_the_error_estimate_is_the_error(kind: str) -> None:
    model, x = wide()
    with torch.no_grad():
        found = ntk.tangents(model, x)
    exact = found.gram()
    errors, estimates = [], []
    for seed in range(30):
        features = ntk.Sketch(512, kind, seed)(found)
        rows = features.flatten(1)
        errors.append(float((rows @ rows.mT - exact).norm() / exact.norm()))
        estimates.append(float(ntk.sketch_error(features)))
    ratio = (sum(e * e for e in estimates) / sum(e * e for e in errors)) ** 0.5
    # root mean squares over 30 seeds of three degrees of freedom each: about 10 % either way
    assert 0.7 < ratio < 1.4


def test_pictures_of_two_sizes_have_a_kernel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both roads of a convolution go by its weight alone, and position by position if memory asks for it."""
    torch.manual_seed(0)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), *pool, nn.Linear(64, 3)
    )
    small, large = torch.randn(5, 1, 9, 9), torch.randn(5, 1, 17, 17)
    sketch = ntk.Sketch(256)  # 288 x 64 weights: both sides are sketched
    with torch.no_grad():
        left, right = (ntk.tangents(model, x) for x in (small, large))
        exact = left.gram(right)
        a, b = (sketch(found).flatten(1) for found in (left, right))
        monkeypatch.setattr("photonet.ntk.sketch.AT_ONCE", 4 * 15 * 256)
        torch.testing.assert_close(sketch(right).flatten(1), b)
    assert float((a @ b.mT - exact).norm() / exact.norm()) < 0.3
    assert float(torch.corrcoef(torch.stack([(a @ b.mT).flatten(), exact.flatten()]))[0, 1]) > 0.8


def test_the_map_depends_on_the_seed_only() -> None:
    model, x = wide()
    found = ntk.tangents(model, x)
    sketch = ntk.Sketch(128)
    parts = torch.cat([ntk.Sketch(128)(ntk.tangents(model, part)) for part in x.split(4)])
    torch.testing.assert_close(parts, sketch(found), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ntk.Sketch(128, seed=1)(found), sketch(found))


def test_a_sketch_has_the_gradient_of_its_kernel() -> None:
    model, x = build("conv2d")
    sketch = ntk.Sketch(32)
    loss = sketch(ntk.tangents(model, x)).square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    assert max(g.abs().max() for g in gradients) > 0


@pytest.mark.parametrize(("method", "size"), [("jvp", 128), ("sketch", 4096)])
def test_estimates_come_close_to_the_kernel(method: str, size: int) -> None:
    model, x = build("linear")
    exact = ntk.gram(model, x)
    for chunk in (None, 2):
        kernel = ntk.gram(
            model, x, method=method, size=size, chunk=chunk, generator=torch.Generator().manual_seed(0)
        )
        # The relative error of an entry is sqrt(2 / size), of one direction of many less; three of them.
        assert (kernel - exact).norm() < 3 * (2 / size) ** 0.5 * exact.norm()


def test_bad_sketches_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^found: expected tangents.*got Tensor"):
        ntk.Sketch(64)(torch.ones(3, 2))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="multiple of the 4"):
        ntk.Sketch(30)
    with pytest.raises(UnknownName, match="gaussian"):
        ntk.Sketch(kind="gausian")
    model, x = build("linear")
    with pytest.raises(InvalidArgument, match="generator"):
        ntk.gram(model, x, method="sketch")


@pytest.mark.parametrize(
    ("features", "blocks", "message"),
    [
        (
            torch.ones(3, 8),
            4,
            r"^features: expected a tensor \[n, m, size\] of 4 equal blocks, got shape \(3, 8\)",
        ),
        (torch.ones(3, 2, 6), 4, r"^features: .*\(3, 2, 6\)"),
        ([1.0], 4, "^features: .*got list"),
        (torch.ones(3, 2, 8), 1, "^blocks: expected a whole number of at least 2"),  # no spread to be seen
    ],
)
def test_the_error_of_what_is_no_sketch_is_refused(features: Any, blocks: int, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        ntk.sketch_error(features, blocks)
