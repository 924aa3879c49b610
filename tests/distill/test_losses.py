import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import ntk
from photonet.arrays import UNLABELLED
from photonet.distill.losses import (
    cross_entropy,
    feature_matching,
    kd,
    kernel_residual,
    ntk_matching,
)
from photonet.errors import GridMismatch, InvalidArgument, UnknownName


def test_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]], dtype=torch.float64)
    # probabilities 3/4 and 1/2 of the right class
    expected = -(math.log(0.75) + math.log(0.5)) / 2
    assert float(cross_entropy(logits, torch.tensor([1, 0]))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_by_hand(temperature):
    # at the temperature T, logits T * log p soften to p
    p, q = torch.tensor([0.8, 0.2], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    student, teacher = temperature * q.log()[None], temperature * p.log()[None]
    divergence = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    found = float(kd(student, teacher, temperature))
    assert found == pytest.approx(temperature**2 * divergence, rel=1e-12)


def test_distillation_is_a_mean_over_samples_and_pixels():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 2, 2, generator=generator, dtype=torch.float64)
    pixels = [x.movedim(1, -1).reshape(-1, 1, 3) for x in (student, teacher)]
    one_by_one = [kd(s, t) for s, t in zip(*pixels, strict=True)]
    torch.testing.assert_close(kd(student, teacher), torch.stack(one_by_one).mean())


def test_raw_matching_is_the_mean_square_of_the_difference():
    a, b = torch.tensor([[2.0, 1.0], [1.0, 4.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert float(ntk_matching(a, b, "raw")) == (1 + 0 + 0 + 9) / 4


def test_scaled_matching_divides_by_the_mean_diagonal():
    a, b = torch.tensor([[2.0, 1.0], [1.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = ((2 / 3 - 1) ** 2 + 2 * (1 / 3) ** 2 + (4 / 3 - 1) ** 2) / 4
    assert float(ntk_matching(a, b)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-10, 10), seed=st.integers(0, 99))
def test_centred_alignment_is_blind_to_scale_and_offset(scale, offset, seed):
    x, y = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a, b = x @ x.T, y @ y.T
    torch.testing.assert_close(ntk_matching(scale * a + offset, b, "cka"), ntk_matching(a, b, "cka"))
    assert float(ntk_matching(scale * a + offset, a, "cka")) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("form", ["scaled", "cka", "raw"])
def test_gradients_of_matching(form):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    teacher = torch.eye(4, dtype=torch.float64) + 0.1
    assert torch.autograd.gradcheck(lambda v: ntk_matching(v @ v.T, teacher, form), (x,))


def test_bad_input_is_named():
    with pytest.raises(GridMismatch, match=r"teacher: expected outputs \(2, 3\)"):
        kd(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(UnknownName, match="did you mean scaled"):
        ntk_matching(torch.eye(2), torch.eye(2), "scale")
    with pytest.raises(InvalidArgument, match="teacher: expected a Gram"):
        ntk_matching(torch.eye(2), torch.eye(3))
    with pytest.raises(InvalidArgument, match="two or more"):
        ntk_matching(torch.eye(1), torch.eye(1), "cka")


def test_samples_without_a_label_do_not_count():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([1, UNLABELLED, 3, UNLABELLED, 0])
    known = labels != UNLABELLED
    torch.testing.assert_close(cross_entropy(logits, labels), cross_entropy(logits[known], labels[known]))
    assert cross_entropy(logits, torch.full((5,), UNLABELLED)) == 0


def test_features_may_be_rotated_and_scaled():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    assert abs(float(feature_matching(3 * x @ turn, x))) < 1e-12
    with pytest.raises(InvalidArgument, match="batch of two"):
        feature_matching(x[:1], x[:1])


def test_every_pixel_of_a_map_is_a_sample():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, c, 4, 5, generator=generator, dtype=torch.float64) for c in (3, 6))
    rows = [m.movedim(1, -1).flatten(0, -2) for m in (x, y)]
    grams = [m @ m.mT for m in rows]
    torch.testing.assert_close(feature_matching(x, y), 1 - ntk.alignment(*grams))
    finer = y.repeat_interleave(3, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(feature_matching(x, finer), feature_matching(x, y))
    assert feature_matching(x[:1], y[:1]).isfinite()
    with pytest.raises(InvalidArgument, match=r"^teacher: expected feature maps \[c, y, x\] of both"):
        feature_matching(x, y.flatten(1))


def test_the_residual_weighs_the_directions_of_the_kernel_by_hand():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    values = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    kernel = vectors * values @ vectors.T  # mean diagonal: 7.5 / 5
    teacher = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    centred = teacher - teacher.mean(1, keepdim=True)
    for index in range(5):
        error = vectors[:, index : index + 1] * torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
        expected = 0.2 * 2 / (float(values[index]) / 1.5 + 0.2) / float(centred.square().sum())
        # what all classes share is not seen
        found = kernel_residual(teacher + error + 7.0, teacher, kernel, strength=0.2)
        assert float(found) == pytest.approx(expected, rel=1e-9)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: kernel_residual(v, teacher, kernel), (x,))


@pytest.mark.parametrize(
    ("kernel", "got"),
    [(0.0 * torch.eye(2), "a mean diagonal of 0;"), (3.0 - 2.0 * torch.eye(2), "an indefinite one;"),
     (torch.nan * torch.eye(2), "a mean diagonal of nan;")],
    ids=["zero", "indefinite", "nan"],
)  # fmt: skip
def test_a_kernel_that_is_none_is_refused_by_the_residual(kernel, got):
    with pytest.raises(InvalidArgument, match=f"^kernel: expected a positive semidefinite kernel .*{got}"):
        kernel_residual(torch.zeros(2, 3), torch.rand(2, 3), kernel)


def test_a_residual_of_another_batch_is_refused():
    x = torch.zeros(4, 3)
    with pytest.raises(InvalidArgument, match=r"^kernel: expected \[4, 4\]"):
        kernel_residual(x, x, torch.eye(3))
    with pytest.raises(GridMismatch, match="^teacher"):
        kernel_residual(x, torch.zeros(4, 2), torch.eye(4))
