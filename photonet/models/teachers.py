"""Digital teachers."""

from __future__ import annotations

from torch import nn

from .. import checks

__all__ = ["lenet"]


def lenet(classes: int = 10, channels: int = 1) -> nn.Sequential:
    """LeNet-5 with ReLU and max pooling for 28 x 28 images (LeCun et al., Proc. IEEE 86, 2278, 1998).

    Args:
        classes: number of outputs.
        channels: colours of the image.

    Shape:
        [n, channels, 28, 28] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one.

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
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )
