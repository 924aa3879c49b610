import itertools

import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.models import alexnet, lenet, resnet, unet


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_of_lenet_5():
    count = 6 * 26 + 16 * (6 * 25 + 1) + 120 * 401 + 84 * 121 + 10 * 85
    assert parameters(lenet()) == count
    assert lenet(classes=3, channels=2)(torch.zeros(2, 2, 28, 28)).shape == (2, 3)


def test_parameters_of_resnet_20():
    # He et al. give 0.27 M; 9 per 3 x 3 kernel, two of batch normalisation per channel
    stages = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    assert parameters(resnet()) == stages + 2 * 7 * (16 + 32 + 64) - 2 * (32 + 64) + 650
    assert resnet(3, 1, width=4, blocks=(1, 1))(torch.rand(2, 1, 16, 16)).shape == (2, 3)


def test_parameters_of_alexnet_and_unet():
    widths = (3, 64, 192, 384, 256, 256)
    count = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(widths))
    assert parameters(alexnet()) == count + (4096 * 512 + 512) + (512 * 512 + 512) + 5130
    assert parameters(unet()) == 1_084_706
    assert unet(5, 1, width=4, depth=2)(torch.rand(2, 1, 8, 12)).shape == (2, 5, 8, 12)


def test_a_residual_block_with_no_path_is_a_subsampled_shortcut():
    block = resnet(width=2, blocks=(1, 1))[4].eval()
    with torch.no_grad():
        block.path[-1].weight.zero_()
    x = torch.rand(1, 2, 4, 4)
    torch.testing.assert_close(block(x)[:, :2], x[..., ::2, ::2])
    assert block(x)[:, 2:].count_nonzero() == 0


@pytest.mark.parametrize(
    ("build", "options", "name"),
    [(lenet, {"classes": 0}, "classes"), (alexnet, {"width": 0}, "width"),
     (resnet, {"blocks": (1, 0)}, "blocks"), (unet, {"depth": 0}, "depth")],
)  # fmt: skip
def test_sizes_that_do_not_work_are_named(build, options, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        build(**options)


def test_a_unet_names_the_sizes_it_takes():
    with pytest.raises(InvalidArgument, match="^image: expected rows and columns in multiples of 8"):
        unet(width=4)(torch.rand(1, 3, 20, 16))
