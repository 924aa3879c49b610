import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.models import compressed_meta, ideal_lenses, lenet, random_psfs


def test_parameters_of_the_published_student():
    # 8 kernels 7 x 7; 8 x 7 x 7 features to 128, to 10, with biases: about 0.05 M in Table 2 of 2508.08421
    count = 8 * 49 + (8 * 49 * 128 + 128) + (128 * 10 + 10)
    assert sum(p.numel() for p in compressed_meta().parameters()) == count


def test_parameters_of_lenet_5():
    count = 6 * 26 + 16 * (6 * 25 + 1) + 120 * 401 + 84 * 121 + 10 * 85
    assert sum(p.numel() for p in lenet().parameters()) == count
    assert lenet(classes=3, channels=2)(torch.zeros(2, 2, 28, 28)).shape == (2, 3)


def test_random_psfs_follow_the_generator_and_are_fixed():
    a, b, c = (random_psfs(compressed_meta(), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a.optics.weight, b.optics.weight)
    assert not torch.equal(a.optics.weight, c.optics.weight)
    assert not a.optics.weight.requires_grad


@pytest.mark.parametrize("kernels", [1, 8, 20])
def test_ideal_lenses_are_sharp_images_at_different_places(kernels):
    network = ideal_lenses(compressed_meta(kernels))
    weight = network.optics.weight
    assert weight.flatten(1).count_nonzero(1).tolist() == [1] * kernels
    assert weight.sum() == kernels
    places = {tuple(w[0].nonzero()[0].tolist()) for w in weight}
    assert len(places) == min(kernels, 16)  # a bin of 4 x 4 pixels has 16 places
    assert not weight.requires_grad


@pytest.mark.parametrize(
    ("options", "name"),
    [({"binning": 5}, "binning"), ({"hidden": 0}, "hidden"), ({"classes": -1}, "classes"),
     ({"kernels": 0}, "kernels"), ({"kernel_size": 6}, "kernel_size")],
)  # fmt: skip
def test_sizes_that_do_not_work_are_named(options, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        compressed_meta(**options)
