"""Digital teachers that classify."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from .. import checks
from .readout import Flatten

__all__ = ["alexnet", "lenet", "resnet"]


def lenet(classes: int = 10, channels: int = 1) -> nn.Sequential:
    """LeNet-5 with ReLU and max pooling for 28 x 28 images (LeCun et al., Proc. IEEE 86, 2278, 1998).

    Args:
        classes: number of outputs.
        channels: colours of the image.

    Shape:
        [n, channels, 28, 28] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one.
        GridMismatch: with the first image of another size.

    Example:
        >>> sum(p.numel() for p in lenet().parameters())
        61706
    """
    checks.count("classes", classes)
    checks.count("channels", channels)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Flatten((channels, 28, 28), 400),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def alexnet(classes: int = 10, channels: int = 3, *, width: int = 64) -> nn.Sequential:
    """AlexNet for 32 x 32 images: five convolutions, three max pools, three dense layers.

    With the default arguments 4,618,186 parameters. The convolutions have 1, 3, 6, 4 and 4 times ``width``
    channels, as in the one-tower AlexNet (Krizhevsky, arXiv 1404.5997), with 3 x 3 kernels, batch
    normalisation, and dense layers of 512 in place of 4,096, which would see only 4 x 4 positions.

    Args:
        classes: number of outputs.
        channels: colours of the image.
        width: channels of the first convolution.

    Shape:
        [n, channels, 32, 32] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one.
        GridMismatch: with the first image of another size.

    Example:
        >>> alexnet(width=8)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    checks.count("classes", classes)
    checks.count("width", width)
    wide = [checks.count("channels", channels), *(width * times for times in (1, 3, 6, 4, 4))]
    features, hidden = 16 * wide[-1], 8 * width
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(wide)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        if number in (0, 1, 4):
            layers.append(nn.MaxPool2d(2))
    dense = [nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    flatten = Flatten((channels, 32, 32), features)
    return nn.Sequential(*layers, flatten, *dense, nn.Linear(hidden, classes))


def resnet(
    classes: int = 10, channels: int = 3, *, width: int = 16, blocks: Sequence[int] = (3, 3, 3)
) -> nn.Sequential:
    """Residual network for 32 x 32 images (He et al., arXiv 1512.03385, section 4.2).

    With the default arguments ResNet-20 with 269,722 parameters: stages of ``width``, twice and four times
    ``width`` channels, each but the first at half the resolution, shortcuts padded with zeros, the mean over
    positions, and one dense layer.

    Args:
        classes: number of outputs.
        channels: colours of the image.
        width: channels of the first stage.
        blocks: residual blocks of each stage.

    Shape:
        [n, channels, y, x] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one.

    Example:
        >>> sum(p.numel() for p in resnet().parameters())
        269722
    """
    checks.count("classes", classes)
    checks.count("channels", channels)
    before = checks.count("width", width)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    for stage, count in enumerate(checks.counts("blocks", blocks)):
        after = width * 2**stage
        for number in range(count):
            layers.append(_Residual(before, after, stride=2 if stage and not number else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class _Residual(nn.Module):
    """Two convolutions beside a shortcut that has no parameters."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, after - before
        self.path = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = nn.functional.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return torch.relu(self.path(x) + shortcut)
