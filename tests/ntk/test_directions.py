from __future__ import annotations

from typing import Any

import pytest
import torch

from photonet import ntk
from photonet.errors import InvalidArgument


def test_random_directions_have_unit_covariance(generator: torch.Generator) -> None:
    v = ntk.random_directions(6, generator, count=20_000, like=torch.ones(1, dtype=torch.float64))
    # off-diagonal entries are means of 20,000 signs: standard error 1 / sqrt(20000); five of them
    assert (v.mT @ v - torch.eye(6)).abs().max() < 5 / 20_000**0.5


def test_centred_directions_project_out_the_mean(generator: torch.Generator) -> None:
    v = ntk.centred_directions(5)
    torch.testing.assert_close(v @ v, v)
    assert ntk.centred_directions(5, generator=generator, count=3).sum(1).abs().max() < 1e-6
    with pytest.raises(InvalidArgument, match="2 classes"):
        ntk.centred_directions(1)


def test_classes_of_dense_outputs_are_centred_pixel_by_pixel(generator: torch.Generator) -> None:
    like = torch.ones(1, dtype=torch.float64)
    v = ntk.centred_directions((3, 2, 2), like=like)
    torch.testing.assert_close(v @ v, v)  # a projection, one centring for each of the four pixels
    one = ntk.centred_directions(3, like=like)
    torch.testing.assert_close(v, torch.kron(one, torch.eye(4, dtype=torch.float64)))
    drawn = ntk.centred_directions((3, 2, 2), generator=generator, count=20_000, like=like)
    assert drawn.unflatten(1, (3, 4)).sum(1).abs().max() < 1e-12
    # entries are means of 20,000 bounded products: five standard errors
    assert (drawn.mT @ drawn - v).abs().max() < 5 / 20_000**0.5
    with pytest.raises(InvalidArgument, match="2 classes"):
        ntk.centred_directions((1, 8, 8))


def test_a_class_is_its_whole_map() -> None:
    torch.manual_seed(0)
    model = torch.nn.Conv2d(1, 3, 3).double()
    x = torch.rand(4, 1, 5, 6, dtype=torch.float64)  # 3 x 4 pixels
    means = torch.nn.Sequential(model, torch.nn.AdaptiveAvgPool2d(1))
    v = ntk.class_directions((3, 3, 4), like=x)
    torch.testing.assert_close(v @ v.mT, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(ntk.gram(model, x, outputs=v), 12 * ntk.gram(means, x))

    centred = ntk.class_directions((3, 3, 4), centred=True, like=x)
    assert centred.unflatten(1, (3, -1)).sum(1).abs().max() < 1e-12
    every = ntk.centred_directions(3, like=x)
    torch.testing.assert_close(
        ntk.gram(model, x, outputs=centred), 12 * ntk.gram(means, x, outputs=every), rtol=1e-10, atol=1e-12
    )
    with pytest.raises(InvalidArgument, match="2 classes"):
        ntk.class_directions((1, 8, 8), centred=True)


def test_pixels_estimate_the_trace(generator: torch.Generator) -> None:
    rows = [ntk.pixel_directions((2, 3), generator, count=2) for _ in range(3000)]
    mean = torch.stack([v.mT @ v for v in rows]).mean(0)
    # a pixel is drawn with probability 1/3 and then weighs 3: variance 2; five standard errors
    assert (mean - torch.eye(6)).abs().max() < 5 * (2 / 3000) ** 0.5
    with pytest.raises(InvalidArgument, match="at most the 6"):
        ntk.pixel_directions((2, 3), generator, count=7)


@pytest.mark.parametrize("draw", [ntk.random_directions, ntk.pixel_directions])
def test_a_seed_is_not_a_generator(draw: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^generator: expected a torch\.Generator.*got 0"):
        draw(*((4,) if draw is ntk.random_directions else ((2, 2),)), 0, count=1)
