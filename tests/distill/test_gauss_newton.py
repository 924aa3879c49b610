"""Gauss-Newton in tangent space against closed forms of linear models, where one iteration is exact."""

import pytest
import torch
from torch import nn

from photonet.distill import gauss_newton
from photonet.distill.gauss_newton import STRENGTHS, _leave_one_image_out
from photonet.errors import GridMismatch, InvalidArgument


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double()


def centred(logits):
    return logits - logits.mean(dim=1, keepdim=True)


def test_a_linear_backend_is_ridge_regression_anchored_at_its_weights():
    model, x, y = seeded(lambda: nn.Linear(4, 3)), draw(30, 4), draw(30, 3, seed=1)
    found = gauss_newton(model, x, y, iterations=1, strength=0.1)
    ones = torch.cat([x, torch.ones(30, 1, dtype=x.dtype)], dim=1)
    kernel = ones @ ones.T
    # a centred class has a variance of 1 - 1/3, so the ridge is that part of the mean diagonal
    ridge = 0.1 * kernel.diagonal().mean() * (2 / 3)
    dual = torch.linalg.solve(kernel + ridge * torch.eye(30, dtype=x.dtype), centred(y - model(x).detach()))
    expected = centred(model(x).detach()) + kernel @ dual
    # conjugate gradients end at a relative residual of 1e-4
    torch.testing.assert_close(centred(found(x)), expected, atol=1e-3, rtol=1e-3)


def test_the_strength_is_that_of_explicit_leave_one_image_out():
    x, y = draw(20, 3), draw(20, 2, seed=1)
    kernel = torch.einsum("ab,cd->abcd", x @ x.T, torch.eye(2, dtype=x.dtype))
    mean = (x @ x.T).diagonal().mean()
    target = x @ draw(3, 2, seed=2) + y

    def left_out(strength):
        error = 0.0
        for i in range(20):
            keep = torch.arange(20) != i
            gram = x[keep] @ x[keep].T + strength * mean * torch.eye(19, dtype=x.dtype)
            error += float(
                (x[i] @ x[keep].T @ torch.linalg.solve(gram, target[keep]) - target[i]).square().sum()
            )
        return error

    assert _leave_one_image_out(kernel, target, mean) == min(STRENGTHS, key=left_out)


def test_a_disturbed_network_answers_as_before_on_new_inputs():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4)))
    x, fresh = draw(150, 6), draw(200, 6, seed=3)
    mixing = torch.eye(6, dtype=x.dtype) + 0.3 * draw(6, 6, seed=4)
    found = gauss_newton(model, x @ mixing, model(x).detach())
    before = (centred(model(fresh @ mixing)) - centred(model(fresh))).norm()
    after = (centred(found(fresh @ mixing)) - centred(model(fresh))).norm()
    assert after < 0.3 * before


def test_what_all_classes_share_is_not_followed():
    model, x = seeded(lambda: nn.Linear(4, 3)), draw(20, 4)
    found = gauss_newton(model, x, model(x).detach() + 100.0, strength=0.01)
    torch.testing.assert_close(found.weight, model.weight, atol=1e-6, rtol=0)


def test_the_backend_that_came_in_is_not_touched_and_may_be_frozen():
    model = seeded(lambda: nn.Linear(4, 3)).requires_grad_(False)
    before = model.weight.clone()
    found = gauss_newton(model, draw(9, 4), draw(9, 3, seed=1))
    assert torch.equal(model.weight, before)
    assert not torch.equal(found.weight, before)
    assert not any(p.requires_grad for p in found.parameters())


def test_bad_input_is_named():
    model = seeded(lambda: nn.Linear(4, 3))
    with pytest.raises(GridMismatch, match="wanted"):
        gauss_newton(model, draw(9, 4), draw(9, 2))
    with pytest.raises(InvalidArgument, match="two or more"):
        gauss_newton(model, draw(1, 4), draw(1, 3))
    with pytest.raises(InvalidArgument, match="strength"):
        gauss_newton(model, draw(9, 4), draw(9, 3), strength=0.0)


def test_more_frames_never_make_it_worse():
    """Where the steps run out (features of all sizes, far from zero), what is left must be an improvement."""
    model = seeded(lambda: nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 5)))
    x, fresh = draw(3000, 40), draw(500, 40, seed=3)
    mixing = torch.linalg.qr(draw(40, 40, seed=4)).Q * torch.logspace(1, -2, 40, dtype=x.dtype)

    def off(frames):
        backend = gauss_newton(model, x[:frames] @ mixing + 10, model(x[:frames]).detach())
        return float((centred(backend(fresh @ mixing + 10)) - centred(model(fresh))).detach().norm())

    assert off(3000) < 0.9 * off(300)


def test_features_with_a_graph_are_those_without():
    torch.manual_seed(0)
    backend, features, wanted = nn.Linear(3, 2), torch.randn(20, 3), torch.randn(20, 2)
    found = gauss_newton(backend, (features.requires_grad_() * 1.0), wanted)
    assert torch.equal(found.weight, gauss_newton(backend, features.detach(), wanted).weight)
