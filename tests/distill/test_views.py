"""Views off the sample: what they show, what becomes of the labels, who is asked."""

import functools
import math

import pytest
import torch
from torch import nn

from photonet.arrays import UNLABELLED
from photonet.distill import KD, CrossEntropy, Mixed, Moved, TrainConfig, distill
from photonet.distill.views import describe, views_of
from photonet.errors import InvalidArgument, UnknownName
from photonet.models import compressed_meta, lenet

ONCE = TrainConfig(epochs=1, batch_size=8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def dense(x):
    """Classes of pixels that can be read off the picture: which quarter of the grey scale."""
    return (4 * x[:, 0]).long().clamp(0, 3)


def squares(n, size):
    """Even squares of ``size`` pixels, in the middle of the quarters of the grey scale."""
    coarse = torch.randint(0, 4, (n, 1, 6, 6), generator=generator()).float() / 4 + 0.125
    return nn.functional.interpolate(coarse, scale_factor=size)


def test_labels_of_pixels_move_with_the_picture():
    x = squares(3, 16)
    seen, labels = Moved().with_labels(x, dense(x), generator(1))
    known = labels != UNLABELLED
    assert 0.7 < float(known.double().mean()) < 1
    # a sixth of the pixels of a 16-pixel square lies on the one-pixel border that interpolation blurs
    assert float((dense(seen) == labels)[known].double().mean()) > 1 - 1 / 6
    assert torch.equal(seen, Moved()(x, generator(1)))


def test_unlabelled_pixels_stay_so_and_no_movement_changes_nothing():
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator())
    labels[0, :4] = UNLABELLED
    x = torch.rand(2, 1, 8, 8)
    seen, moved = Moved(0.0, 0.0, 0.0).with_labels(x, labels, generator())
    assert torch.equal(moved, labels)
    torch.testing.assert_close(seen, x)
    assert torch.equal(Moved().with_labels(x, labels[:, 0, 0], generator())[1], labels[:, 0, 0])


@pytest.mark.parametrize("axes", [3, 4])
def test_maps_of_numbers_move_as_the_picture_does(axes):
    x = torch.nn.functional.avg_pool2d(
        torch.rand(6, 1, 36, 36, generator=torch.Generator().manual_seed(0)), 5, 1
    )
    targets = x if axes == 4 else x[:, 0]
    targets = targets.clone()
    targets[0, ..., 10, 10] = math.nan
    seen, moved = Moved(shift=4.0).with_labels(x, targets, torch.Generator().manual_seed(1))
    known = ~moved.isnan()
    torch.testing.assert_close(moved[known], (seen if axes == 4 else seen[:, 0])[known], atol=2e-3, rtol=0)
    assert moved.shape == targets.shape
    assert 0.6 < known.double().mean() < 0.999
    rows = torch.rand(6, 2)  # numbers of the whole picture are kept
    assert Moved().with_labels(x, rows, torch.Generator())[1] is rows


def test_a_mean_lies_between_its_parts_and_has_no_label():
    x = torch.rand(6, 3, generator=generator())
    seen, labels = Mixed(0.5).with_labels(x, torch.arange(6), generator())
    assert labels.tolist() == [UNLABELLED] * 3 + [3, 4, 5]
    assert torch.equal(seen[3:], x[3:])
    assert bool((seen >= x.min(0).values).all() and (seen <= x.max(0).values).all())


class Asked(nn.Module):
    """A teacher that remembers what it was asked, in training steps."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.model(x)

    def __deepcopy__(self, memo):
        return self


def pictures(n=20):
    return torch.rand(n, 1, 28, 28, generator=generator(5)), torch.arange(n) % 10


@pytest.mark.parametrize(
    ("method", "views", "moves"),
    [("ntkd", "auto", True), ("ntkd", None, False), ("kd", "auto", False), ("kd", Moved(), True)],
)
def test_the_default_method_asks_off_the_sample_by_itself(method, views, moves):
    teacher, data = Asked(lenet()), pictures()
    distill(compressed_meta(), teacher, data, val=data, method=method, config=ONCE, views=views)
    off = [x for x in teacher.seen if not any(torch.equal(x[0], known) for known in data[0])]
    assert bool(off) == moves


def test_student_and_teacher_see_the_same_view():
    data = pictures()
    teacher, student = Asked(lenet()), Asked(compressed_meta())
    student.train()
    distill(student, teacher, data, val=data, method=[KD()], config=ONCE, views=Moved())
    [a], [b] = ([x for x in m.seen if len(x) == 8][:1] for m in (teacher, student))
    assert torch.equal(a, b)


def test_dense_outputs_learn_from_moved_labels_and_a_teacher_of_the_moved_scene():
    torch.manual_seed(0)
    x = squares(24, 8)
    teacher = nn.Conv2d(1, 4, 1)
    # logits of a quarter of the grey scale: -(x - centre)^2 up to what all classes share
    centres = torch.tensor([0.125, 0.375, 0.625, 0.875])
    with torch.no_grad():
        teacher.weight.copy_(200 * centres[:, None, None, None])
        teacher.bias.copy_(-100 * centres**2)
    run = functools.partial(distill, teacher=teacher, train=(x, dense(x)), val=(x, dense(x)))
    config = TrainConfig(epochs=30, batch_size=8, lr=0.5, weight_decay=0.0)
    # every pixel by itself: the view cannot matter, wrong labels would
    result = run(nn.Conv2d(1, 4, 1), method=[CrossEntropy(0.5), KD(0.5)], views=Moved(), config=config)
    assert result.metrics["val_accuracy"] > 0.9
    result = run(nn.Conv2d(1, 4, 1), config=TrainConfig(epochs=1, batch_size=8))
    assert "Moved" in result.config["views"]
    # one linear layer has the same kernel whatever its weights
    assert abs(float(result.history["ntk"][0])) < 1e-5


def test_what_auto_means():
    classes = torch.tensor([0, 1])
    small, vectors = torch.rand(2, 1, 8, 8), torch.rand(2, 30)
    assert views_of("auto", "ntkd", torch.rand(2, 3, 16, 32), classes) == Moved()
    assert views_of("auto", "ntkd", small, classes) is views_of("auto", "ntkd", vectors, classes) is None
    assert views_of(None, "ntkd", torch.rand(2, 3, 16, 32), classes) is None
    with pytest.raises(UnknownName, match="^views"):
        views_of("none", "ntkd", small, classes)
    assert views_of("auto", "ntkd", torch.rand(2, 3, 16, 32), classes.float()) is None


def test_wrong_views_are_named():
    with pytest.raises(InvalidArgument, match=r"^views: expected pictures \[b, c, y, x\]"):
        Moved()(torch.rand(4, 3), generator())
    for make in (lambda: Moved(rotation=-1.0), lambda: Moved(scale=2.0), lambda: Moved(shift=-1.0),
                 lambda: Mixed(1.5)):  # fmt: skip
        with pytest.raises(InvalidArgument):
            make()


def test_a_description_tells_functions_apart_and_outlives_the_process():
    def shift(x, generator, by=1):
        return x + by

    first = describe(shift)
    shift.__defaults__ = (2,)
    assert describe(shift) != first
    assert describe(functools.partial(shift, by=3)) != describe(functools.partial(shift, by=4))
    assert " at 0x" not in describe(functools.partial(shift, by=3)) + describe(object())
    assert describe(None) == "None"
    assert describe(Moved()) != describe(Moved(rotation=0.1))
