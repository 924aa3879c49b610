"""Along which directions of the outputs a step compares kernels."""

import pytest
import torch
from torch import nn

from photonet import ntk
from photonet.distill import METHODS, NTK, KernelResidual
from photonet.distill.parallel import Processes
from photonet.distill.samples import Samples
from photonet.distill.step import Step
from photonet.distill.teacher import tangent_gram


class Equal(nn.Module):
    """Two classes that always have the same score, at every pixel."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.layer(x).expand(-1, 2, -1, -1)


def step_of(model, inputs, terms):
    samples = Samples(inputs, gram=tangent_gram(model, inputs))
    return Step(model, samples, terms, 4.0, None, Processes(None), 1)


def asked(step, wanted, seed=0):
    chosen = torch.arange(4)
    return step.draw(chosen, wanted, torch.Generator().manual_seed(seed), seed)


@pytest.fixture
def dense():
    torch.manual_seed(0)
    return nn.Conv2d(1, 2, 3, padding=1)


def test_the_default_method_looks_at_differences_of_classes_at_each_pixel(dense):
    step = step_of(dense, torch.rand(4, 1, 8, 8), METHODS["ntkd"])
    v = asked(step, {"gram"}).directions.unflatten(1, (2, 8, 8))
    assert v.sum(1).abs().max() == 0
    assert v.mean((2, 3)).abs().min() > 0  # what pixels share is not taken away


@pytest.mark.parametrize("side", [4, 8])  # 32 outputs, all looked at, and 128, estimated
def test_scores_that_are_always_equal_have_no_kernel(side):
    x = torch.rand(4, 1, side, side, generator=torch.Generator().manual_seed(0))
    step = step_of(Equal(), x, (NTK(centred=True), KernelResidual()))
    query, wanted = asked(step, {"gram", "kernel"}), {"gram", "kernel"}
    batch = step.batch(query, wanted, step.student(query, wanted, slice(0, 4)))
    scale = ntk.gram(Equal(), x).abs().max()
    for gram in (*batch.grams, batch.kernel):
        assert gram.abs().max() < 1e-6 * scale


def test_the_residual_of_dense_outputs_is_in_the_kernel_of_centred_classes(dense):
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    step = step_of(dense, x, (KernelResidual(),))
    drawn = [tangent_gram(dense, x)(torch.arange(4), asked(step, {"kernel"}, s).residual) for s in range(60)]
    exact = ntk.gram(dense, x, outputs=ntk.centred_directions((2, 8, 8))).detach()
    estimates = torch.stack(drawn)
    # five standard errors of the mean, entry by entry
    assert bool(((estimates.mean(0) - exact).abs() < 5 * estimates.std(0) / 60**0.5).all())


def test_classes_without_pixels_are_looked_at_as_before():
    torch.manual_seed(0)
    step = step_of(nn.Linear(3, 5), torch.rand(4, 3), METHODS["ntkd"])
    expected = ntk.centred_directions(5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(asked(step, {"gram"}, 3).directions, expected)
    signs = ntk.random_directions(5, torch.Generator().manual_seed(3))
    assert torch.equal(expected, signs - signs.mean(1, keepdim=True))
    every = asked(step, {"kernel"}).residual
    torch.testing.assert_close(every, torch.eye(5) - 1 / 5)


def test_the_loss_of_a_run_in_mixed_precision_is_in_single(dense):
    x = 1 + 0.3 * torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            step = step_of(dense, x, (NTK(form="cka", outputs="classes"), KernelResidual()))
            query, wanted = asked(step, {"gram", "kernel"}), {"gram", "kernel"}
            batch = step.batch(query, wanted, step.student(query, wanted, slice(0, 4)))
        assert {t.dtype for t in (batch.logits, *batch.grams, batch.kernel)} == {torch.float32}
        found.append(ntk.center(batch.grams[0]))
    assert ntk.alignment(*found, "cosine") > 0.9
