"""What happens to a camera frame before the first dense layer: the choice that decides more than any loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .. import checks
from ..errors import GridMismatch
from ..nn import OpticalConv2d

__all__ = ["READOUTS", "SignedMaxPool2d", "camera_and_readout"]

READOUTS = ("linear", "relu", "maxpool")


class SignedMaxPool2d(nn.Module):
    """Largest and most negative response of each window, as two channels.

    A kernel and its negative are the same pair of captures subtracted the other way round, so the second
    channel costs no light and no further capture.

    Args:
        size: side of the window, and distance of neighbouring windows.

    Shape:
        [n, k, y, x] -> [n, 2 k, y / size, x / size], the maxima of the maps first, then those of their
        negatives.

    Example:
        >>> SignedMaxPool2d(2)(torch.tensor([[[[1.0, -3.0], [0.0, 2.0]]]])).flatten().tolist()
        [2.0, 3.0]
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = checks.count("size", size)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pooled maps."""
        return torch.cat([F.max_pool2d(maps, self.size), F.max_pool2d(-maps, self.size)], dim=1)

    def extra_repr(self) -> str:
        """Size, for ``print(model)``."""
        return f"{self.size}"


class Flatten(nn.Flatten):
    """Maps in a row for a dense layer, which takes those of scenes of one size.

    Named and printed as torch's own: networks that were stored with that one keep their hash.

    Args:
        scene: shape (c, y, x) of the scenes.
        features: of the dense layer.

    Raises:
        GridMismatch: with the first scene of another size.

    Example:
        >>> Flatten((1, 8, 8), 32)(torch.rand(3, 2, 5, 5))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        photonet.errors.GridMismatch: scene: expected shape [n, 1, 8, 8], got maps (2, 5, 5) ...
    """

    def __init__(self, scene: tuple[int, int, int], features: int) -> None:
        super().__init__()
        self._scene, self._features = scene, features

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """One row of features for each sample."""
        rows = maps.flatten(self.start_dim, self.end_dim)
        # programs that are recorded cannot raise errors of this package
        if not (torch.jit.is_scripting() or torch.jit.is_tracing()) and rows.shape[-1] != self._features:
            shape = ", ".join(map(str, self._scene))
            got = f"maps {tuple(maps.shape[1:])} in place of {self._features} features"
            raise GridMismatch("scene", f"shape [n, {shape}]", got)
        return rows


def camera_and_readout(
    colours: int, kernels: int, kernel_size: int, *, pool: int, readout: str
) -> tuple[OpticalConv2d, list[nn.Module], int]:
    """An optical convolution, and the digital layers between the camera and the first dense layer.

    =============  ==================================================  ====================================
    ``linear``     mean over ``pool`` x ``pool`` pixels                done by the sensor (binning): no
                                                                       digital work, few pixels to read
    ``relu``       batch normalisation, ReLU, the same mean            every pixel is read
    ``maxpool``    batch normalisation, `SignedMaxPool2d`, batch       every pixel is read, twice the
                   normalisation                                       features
    =============  ==================================================  ====================================

    All of them act after the digital subtraction of the positive and the negative capture.

    Args:
        colours: channels of the scene.
        kernels: signed kernels.
        kernel_size: pixels along each axis, odd.
        pool: pixels along each axis that become one feature.
        readout: one of `READOUTS`.

    Returns:
        frontend, digital layers, channels behind them.

    Raises:
        UnknownName: no such readout.
        InvalidArgument: counts below one, or an even kernel.

    Example:
        >>> frontend, layers, channels = camera_and_readout(3, 16, 7, pool=4, readout="maxpool")
        >>> nn.Sequential(frontend, *layers)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 32, 8, 8])
    """
    checks.choice("readout", readout, READOUTS)
    checks.count("pool", pool)
    checks.count("colours", colours)
    checks.count("kernels", kernels)
    if readout == "linear":
        return OpticalConv2d(colours, kernels, kernel_size, binning=pool), [], kernels
    frontend = OpticalConv2d(colours, kernels, kernel_size)
    if readout == "relu":
        return frontend, [nn.BatchNorm2d(kernels), nn.ReLU(), nn.AvgPool2d(pool)], kernels
    layers = [nn.BatchNorm2d(kernels), SignedMaxPool2d(pool), nn.BatchNorm2d(2 * kernels)]
    return frontend, layers, 2 * kernels
