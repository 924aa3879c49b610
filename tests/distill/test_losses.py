"""Loss terms against the numbers their formulas give."""

import math

import pytest
import torch

from photonet.distill import losses
from photonet.errors import InvalidArgument


def test_samples_without_a_label_do_not_count():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([1, losses.UNLABELLED, 3, losses.UNLABELLED, 0])
    known = labels != losses.UNLABELLED
    torch.testing.assert_close(
        losses.cross_entropy(logits, labels), losses.cross_entropy(logits[known], labels[known])
    )
    assert losses.cross_entropy(logits, torch.full((5,), losses.UNLABELLED)) == 0


def test_distillation_of_two_known_distributions():
    # softened probabilities (1/2, 1/2) and (1/4, 3/4): KL = log(4/3) / 2, times T^2
    teacher, student = torch.zeros(1, 2), 2 * torch.tensor([[0.0, math.log(3)]])
    assert float(losses.kd(student, teacher, 2.0)) == pytest.approx(4 * math.log(4 / 3) / 2, rel=1e-5)


@pytest.mark.parametrize("form", ["scaled", "cka"])
def test_scale_free_forms_ignore_the_scale_of_either(form):
    a = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    base = losses.ntk_matching(a @ a.T, b @ b.T, form)
    assert base > 0.01
    torch.testing.assert_close(losses.ntk_matching(7 * a @ a.T, 1e4 * b @ b.T, form), base)


def test_features_may_be_rotated_and_scaled():
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    assert abs(float(losses.feature_matching(3 * x @ turn, x))) < 1e-12
    with pytest.raises(InvalidArgument, match="batch of two"):
        losses.feature_matching(x[:1], x[:1])


@pytest.mark.parametrize("form", losses.NTK_FORMS)
def test_gradients(form):
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.eye(4, dtype=torch.float64) + 0.1
    assert torch.autograd.gradcheck(lambda x: losses.ntk_matching(x @ x.T, teacher, form), x)
