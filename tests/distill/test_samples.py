import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from photonet.data import UNLABELLED
from photonet.distill import accuracy, mean_iou, predict, r_squared
from photonet.distill.samples import scores
from photonet.errors import GridMismatch, InvalidArgument


def logits_of(predicted, classes):
    return nn.functional.one_hot(predicted, classes).movedim(-1, 1).double()


def test_mean_iou_counts_each_class_alike_however_rare():
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[0, 0, :4] = 1
    predicted = labels.clone()
    predicted[0, 0, 2:6] = torch.tensor([0, 0, 1, 1])
    # class 1: 2 in both, 6 in either; class 0: 94 and 98
    assert mean_iou(logits_of(predicted, 2), labels) == pytest.approx((2 / 6 + 94 / 98) / 2, abs=1e-12)
    # a third class that is nowhere changes nothing
    assert mean_iou(logits_of(predicted, 3), labels) == pytest.approx((2 / 6 + 94 / 98) / 2, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_mean_iou_is_that_of_sets_of_pixels(seed):
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(4, (3, 5, 6), generator=generator)
    labels = torch.randint(4, (3, 5, 6), generator=generator)
    labels[0, 0] = UNLABELLED
    pixels = [(p, y) for p, y in zip(predicted.flatten().tolist(), labels.flatten().tolist(), strict=True)]
    pixels = [pair for pair in pixels if pair[1] != UNLABELLED]
    parts = []
    for k in range(4):
        either = sum(k in pair for pair in pixels)
        parts += [sum(pair == (k, k) for pair in pixels) / either] if either else []
    assert mean_iou(logits_of(predicted, 4), labels) == pytest.approx(sum(parts) / len(parts), abs=1e-12)


def test_mean_iou_refuses_other_sizes_and_no_labels():
    with pytest.raises(GridMismatch, match="labels"):
        mean_iou(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5, dtype=torch.int64))
    with pytest.raises(InvalidArgument, match="labels"):
        mean_iou(torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), UNLABELLED))


def test_what_is_scored_goes_by_the_labels():
    logits = logits_of(torch.tensor([[0, 0, 0, 1]]), 2)
    found = scores(logits, torch.tensor([[0, 0, 1, UNLABELLED]]))
    assert found == pytest.approx({"val_accuracy": 2 / 3, "val_miou": (2 / 3 + 0) / 2})
    assert scores(logits[..., 0], torch.tensor([1])) == {"val_accuracy": 0.0}
    assert scores(logits, torch.full((1, 4), UNLABELLED)) == {}
    assert list(scores(logits, logits + 1)) == ["val_r2"]


def test_large_scenes_are_predicted_few_at_a_time():
    seen = []

    class Counts(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.mean(dim=(1, 2, 3))

    x = torch.rand(9, 1, 1024, 1024)
    found = predict(Counts(), x)
    assert max(seen) * x[0].numel() <= 2**22 < 9 * x[0].numel()
    torch.testing.assert_close(found, x.mean(dim=(1, 2, 3)))
    seen.clear()
    predict(Counts(), torch.rand(2000, 1, 28, 28))
    assert seen == [1024, 976]


def test_predict_leaves_every_part_in_its_mode():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[1].eval()
    predict(model, torch.rand(5, 3))
    assert [part.training for part in model.modules()] == [True, True, False, True]
    with pytest.raises(RuntimeError, match="shapes"):
        predict(model, torch.rand(5, 4))
    assert [part.training for part in model.modules()] == [True, True, False, True]
    with pytest.raises(InvalidArgument, match="batch_size"):
        predict(model, torch.rand(5, 3), 0)


def test_what_is_not_a_number_is_never_right():
    labels = torch.zeros(4, dtype=torch.int64)
    assert accuracy(torch.full((4, 3), torch.nan), labels) == 0
    assert mean_iou(torch.full((4, 3), torch.nan), labels) == 0
    half = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert accuracy(half, torch.tensor([0, 0, 1, 1])) == 0.75
    assert mean_iou(half, torch.tensor([0, 0, 1, 1])) == 0.75  # 1 / 2 and 2 / 2


@pytest.mark.parametrize("labels", [torch.tensor([0, 3]), torch.tensor([0, -1]), torch.tensor([0.0, 1.0])])
def test_labels_that_are_no_classes_have_no_intersection(labels):
    with pytest.raises(InvalidArgument, match="labels: expected classes 0 to 2"):
        mean_iou(torch.eye(3)[:2], labels)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2)])
def test_labels_of_other_samples_have_no_accuracy(shape):
    with pytest.raises(GridMismatch, match=r"labels: expected shape \(2,\), as logits \(2, 3\)"):
        accuracy(torch.zeros(2, 3), torch.zeros(shape, dtype=torch.int64))


def test_arrays_are_predicted_and_scored():
    x = torch.rand(5, 3)
    model = nn.Linear(3, 2)
    torch.testing.assert_close(predict(model, x.numpy()), predict(model, x))
    pixels = torch.randint(0, 256, (5, 3)).to(torch.uint8)
    for form in (pixels, pixels.numpy()):  # as they are in training
        torch.testing.assert_close(predict(model, form), predict(model, pixels / 255))
    assert r_squared(x.numpy(), x.numpy()) == 1
