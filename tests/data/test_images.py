import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.data import UNLABELLED, Images, against_rest, stratified_split
from photonet.errors import InvalidArgument, UnknownName

CLASSES = ("a", "b", "c")


def pictures(n=5, dtype=torch.uint8):
    pixels = torch.arange(n * 2 * 3, dtype=dtype).reshape(n, 1, 2, 3)
    return Images(pixels if dtype == torch.uint8 else pixels / 255, torch.arange(n) % 3, CLASSES, "toy")


def test_eight_bits_become_fractions_of_full_scale():
    images = Images(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8), torch.tensor([2]), CLASSES, "toy")
    torch.testing.assert_close(images.images, torch.tensor([[[[0, 0.2, 1]]]]))
    assert images.images.dtype == torch.float32
    image, label = images[0]
    torch.testing.assert_close(image, images.images[0])
    assert label == 2


@pytest.mark.parametrize(
    "index", [slice(1, 4), torch.tensor([3, 0]), torch.tensor([True, False] * 2 + [True])]
)
def test_indexing_and_subset_agree_for_every_kind_of_index(index):
    everything = pictures()
    images, labels = everything[index]
    part = everything.subset(index)
    torch.testing.assert_close(part.images, images)
    torch.testing.assert_close(part.labels, labels)
    torch.testing.assert_close(images, everything.images[index])
    assert part.name == "toy"
    assert len(everything.subset([2])) == 1


def test_a_torch_loader_batches_it():
    loader = torch.utils.data.DataLoader(pictures(), batch_size=2)
    assert [tuple(x.shape) for x, _ in loader] == [(2, 1, 2, 3), (2, 1, 2, 3), (1, 1, 2, 3)]
    torch.testing.assert_close(torch.cat([y for _, y in loader]), pictures().labels)


def test_the_hash_sees_pixels_labels_shape_and_dtype_but_not_the_object():
    base = pictures()
    changed = base.pixels.clone()
    changed[0, 0, 0, 0] ^= 1
    others = [
        Images(changed, base.labels, CLASSES, "toy"),
        Images(base.pixels, base.labels.flip(0), CLASSES, "toy"),
        Images(base.pixels.reshape(5, 1, 3, 2), base.labels, CLASSES, "toy"),
        pictures(dtype=torch.float32),
        base.subset(slice(4)),
    ]
    assert base.hash == pictures().hash
    assert len({base.hash, *(other.hash for other in others)}) == 6


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.zeros(2, 4, 4), torch.zeros(2, dtype=torch.int64), "pixels: expected uint8 or float32"),
        (torch.zeros(2, 1, 4, 4).double(), torch.zeros(2, dtype=torch.int64), "got float64 of shape"),
        (torch.full((2, 1, 4, 4), 1.5), torch.zeros(2, dtype=torch.int64), r"got values in \[1.5, 1.5\]"),
        (torch.full((2, 1, 4, 4), torch.nan), torch.zeros(2, dtype=torch.int64), r"values in \[nan, nan\]"),
        (
            torch.zeros(2, 1, 4, 4),
            torch.zeros(3, dtype=torch.int64),
            r"labels: expected int64 of shape \[2\]",
        ),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2), "labels: expected int64"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 3]), r"classes 0 to 2, got 3 at \(1,\)"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([-1, 0]), r"got -1 at \(0,\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(pixels, labels, message):
    with pytest.raises(InvalidArgument, match=message):
        Images(pixels, labels, CLASSES, "toy")


def test_only_unlabelled_may_lie_outside_the_classes():
    pixels = torch.zeros(1, 1, 1, 2)
    assert Images(pixels, torch.tensor([[[0, UNLABELLED]]]), CLASSES, "toy").labels[0, 0, 1] == UNLABELLED
    with pytest.raises(InvalidArgument, match=r"got 255 at \(0, 0, 1\)"):
        Images(pixels, torch.tensor([[[0, 255]]]), CLASSES, "toy")


def test_unlabelled_means_the_same_to_the_losses():
    assert torch.nn.functional.cross_entropy(torch.rand(1, 3, 2), torch.tensor([[0, UNLABELLED]])).isfinite()


def test_one_class_against_the_rest():
    labels = torch.tensor([0, 1, 2, UNLABELLED, 1])
    task = against_rest(Images(torch.zeros(5, 1, 1, 1), labels, CLASSES, "toy"), "b")
    assert task.labels.tolist() == [0, 1, 0, UNLABELLED, 1]
    assert (task.classes, task.name) == (("rest", "b"), "toy, b against the rest")
    with pytest.raises(UnknownName, match="^one: expected one of a, b, c"):
        against_rest(pictures(), "d")


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=5),
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_split_is_a_partition_and_keeps_the_proportions(counts, weights, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    fractions = [w / sum(weights) for w in weights]
    parts = stratified_split(labels, fractions, seed)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))
    for part, share in zip(parts, fractions, strict=True):
        for label, count in enumerate(counts):
            # both cuts are rounded, each by at most half a sample
            assert abs(int((labels[part] == label).sum()) - share * count) <= 1 + 1e-9
    again = stratified_split(labels, fractions, seed)
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


def test_labels_may_be_a_list():
    assert [len(part) for part in stratified_split([0, 1], (0.5, 0.5), seed=0)] == [0, 2]


@pytest.mark.parametrize("index", [[5], [-6], torch.tensor([7]), [0.5], ["a"], torch.tensor([0.5]), [True]])
def test_pictures_that_do_not_exist(index):
    with pytest.raises(InvalidArgument, match="^index: expected a slice, a mask or whole numbers of the 5"):
        pictures().subset(index)


def test_one_number_is_a_set_of_one_picture():
    assert len(pictures().subset(2)) == len(pictures().subset(torch.tensor(2))) == 1


def test_another_seed_gives_another_split_in_random_order():
    labels = torch.arange(200) % 2
    a, b = (stratified_split(labels, (0.5, 0.5), seed)[0] for seed in (0, 1))
    assert not torch.equal(a, b)
    assert not torch.equal(a, a.sort().values)
    # were the classes not mixed, the first half would hold one class alone
    assert 0 < int(labels[a[:50]].sum()) < 50


@pytest.mark.parametrize(
    ("labels", "fractions", "seed", "name"),
    [
        (torch.zeros(4, 2), (0.5, 0.5), 0, "labels"),
        (torch.zeros(4), (0.5, 0.4), 0, "fractions"),
        (torch.zeros(4), (1.5, -0.5), 0, "fractions"),
        (torch.zeros(4), (0.5, 0.5), -1, "seed"),
        (torch.zeros(4), (0.5, 0.5), 2**32, "seed"),
        (torch.zeros(4), 0.5, 0, "fractions"),
        (["a", "b"], (0.5, 0.5), 0, "labels"),
        ([0.5, 1.0], (0.5, 0.5), 0, "labels"),
    ],
)
def test_bad_splits_name_the_argument(labels, fractions, seed, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        stratified_split(labels, fractions, seed)


def test_repr_says_what_it_is():
    assert repr(pictures()) == "<toy: 5 pictures 1 x 2 x 3, 3 classes>"
    assert np.asarray(pictures().images).shape == (5, 1, 2, 3)


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list])
def test_a_mask_chooses_what_it_marks(kind):
    pixels = torch.arange(4, dtype=torch.uint8)[:, None, None, None]
    pictures = Images(pixels, torch.tensor([0, 1, 0, 1]), ("a", "b"), "toy")
    assert pictures.subset(kind([False, True, False, True])).pixels.flatten().tolist() == [1, 3]
    assert pictures.subset(kind([2, 0])).pixels.flatten().tolist() == [2, 0]
    with pytest.raises(InvalidArgument, match="index: expected a slice, a mask or whole numbers"):
        pictures.subset(kind([0.5, 1.0]))
