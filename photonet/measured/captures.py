"""From a sensor to feature maps: cut out the captures, subtract the two of each kernel, bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .. import checks
from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument

__all__ = ["Layout", "Windows", "cut_windows", "join_windows", "signed_maps"]


@dataclass(frozen=True)
class Windows:
    """Where captures lie on a sensor that they do not fill, or whose pixels are finer than the scene's.

    Args:
        corners: first row and column of each capture, [windows, 2], the positive ones first.
        size: pixels of a capture along (y, x), on the sensor.
        pixels: sensor pixels averaged into one pixel of the scene, along each axis.

    Raises:
        InvalidArgument: no corners, negative ones, or a size that is not a multiple of ``pixels``.

    Example:
        >>> places = Windows(corners=[(0, 1), (0, 5)], size=(2, 2))
        >>> cut_windows(torch.arange(16).reshape(1, 2, 8), places)[0].tolist()
        [[[1, 2], [9, 10]], [[5, 6], [13, 14]]]
    """

    corners: Sequence[tuple[int, int]]
    size: tuple[int, int]
    pixels: int = 1

    def __post_init__(self) -> None:
        corners = [
            tuple(checks.count("corners", n, least=0) for n in checks.pair("corners", corner))
            for corner in self.corners
        ]
        if not corners:
            raise InvalidArgument("corners", "the place of one capture or more", "none")
        size = tuple(checks.count("size", n) for n in checks.pair("size", self.size))
        if any(n % checks.count("pixels", self.pixels) for n in size):
            raise InvalidArgument("size", f"multiples of {self.pixels} sensor pixels", size)
        object.__setattr__(self, "corners", tuple(corners))
        object.__setattr__(self, "size", size)

    def cut(self, frames: torch.Tensor) -> torch.Tensor:
        """Captures [n, windows, y, x] of frames [n, y, x], on the scene's pixels."""
        height, width = self.size
        y, x = (max(corner[axis] for corner in self.corners) + self.size[axis] for axis in (0, 1))
        if y > frames.shape[1] or x > frames.shape[2]:
            raise InvalidArgument("layout", f"windows within the frame {tuple(frames.shape[1:])}", (y, x))
        cut = torch.stack([frames[:, y : y + height, x : x + width] for y, x in self.corners], dim=1)
        return F.avg_pool2d(_with_fractions(cut), self.pixels) if self.pixels > 1 else cut

    def check_captures(self, captures: torch.Tensor) -> None:
        """Refuse captures [n, windows, y, x] that are not what `cut` gives."""
        expected = len(self.corners), *(n // self.pixels for n in self.size)
        if tuple(captures.shape[1:]) != expected:
            raise InvalidArgument("layout", f"windows of {tuple(captures.shape[1:])}", expected)


Layout = tuple[int, int] | Windows
"""How captures lie on a sensor: so many along (y, x) that fill it, or `Windows`."""


def cut_windows(frames: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The captures that lie side by side on a sensor.

    Args:
        frames: [n, y, x] of the sensor; frames that came in windows, [n, windows, y, x], are returned as they
            are, with `Windows` if they have the scene's pixels.
        layout: number of windows along (y, x), which fill the sensor without gaps, or `Windows`.

    Returns:
        [n, windows, y, x], row by row, or in the order of the corners.

    Raises:
        InvalidArgument: not frames of one sensor, or a layout that does not divide them or fit into them.

    Example:
        >>> cut_windows(torch.arange(8).reshape(1, 2, 4), (1, 2))[0].tolist()
        [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    places = layout if isinstance(layout, Windows) else checks.pair("layout", layout)
    if not isinstance(frames, torch.Tensor):  # those keep their whole numbers, and what a file may hold
        frames = as_tensor("frames", frames)
    if frames.ndim == 4:
        if isinstance(places, Windows):
            places.check_captures(frames)
        return frames
    if frames.ndim != 3:
        raise InvalidArgument(
            "frames", "axes [n, y, x] or [n, windows, y, x]", f"shape {tuple(frames.shape)}"
        )
    if isinstance(places, Windows):
        return places.cut(frames)
    rows, columns = (checks.count("layout", n) for n in places)
    if frames.shape[1] % rows or frames.shape[2] % columns:
        raise InvalidArgument("layout", f"a divisor of the frame {tuple(frames.shape[1:])}", (rows, columns))
    windows = frames.unflatten(2, (columns, -1)).unflatten(1, (rows, -1))  # [n, rows, y, columns, x]
    return windows.transpose(2, 3).flatten(1, 2)


def join_windows(captures: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Captures [n, windows, y, x] back on their sensor, where they fill it; `Windows` stay as they are.

    Raises:
        InvalidArgument: a layout that is not of whole numbers.
        GridMismatch: another number of captures than of windows.

    Example:
        >>> frames = torch.rand(3, 8, 6)
        >>> torch.equal(join_windows(cut_windows(frames, (4, 2)), (4, 2)), frames)
        True
    """
    if isinstance(layout, Windows):
        return captures
    if not isinstance(captures, torch.Tensor):
        captures = as_tensor("captures", captures)
    rows, columns = (checks.count("layout", n) for n in checks.pair("layout", layout))
    if captures.ndim != 4 or captures.shape[1] != rows * columns:
        raise GridMismatch("captures", f"axes [n, {rows * columns}, y, x]", f"{tuple(captures.shape)}")
    return captures.unflatten(1, (rows, columns)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def signed_maps(captures: torch.Tensor, gain: torch.Tensor, binning: int = 1) -> torch.Tensor:
    """Feature maps of signed kernels: each is the difference of two captures.

    Args:
        captures: [n, 2 k, y, x], first the positive parts of the kernels, then the negative ones.
        gain: [2, k], digital gains at the subtraction (`MaskDesign.gain`, or `nn.split_signed`).
        binning: pixels averaged into a feature, along each axis.

    Returns:
        [n, k, y / binning, x / binning].

    Raises:
        GridMismatch: another number of captures than of gains.
        InvalidArgument: a binning that does not divide the captures.

    Example:
        >>> signed_maps(torch.ones(1, 2, 4, 4), torch.tensor([[1.0], [0.25]]), binning=4)
        tensor([[[[0.7500]]]])
    """
    if gain.ndim != 2 or len(gain) != 2:
        raise InvalidArgument("gain", "shape [2, k]", f"{tuple(gain.shape)}")
    if captures.ndim != 4 or captures.shape[1] != gain.numel():
        raise GridMismatch("captures", f"axes [n, {gain.numel()}, y, x]", f"{tuple(captures.shape)}")
    if checks.count("binning", binning) > 1 and (
        captures.shape[-2] % binning or captures.shape[-1] % binning
    ):
        raise InvalidArgument("binning", f"a divisor of {tuple(captures.shape[-2:])} pixels", binning)
    captures = _with_fractions(captures)
    pairs = captures.unflatten(1, tuple(gain.shape)) * gain.to(captures)[..., None, None]
    signed = pairs[:, 0] - pairs[:, 1]
    return F.avg_pool2d(signed, binning) if binning > 1 else signed


def _with_fractions(captures: torch.Tensor) -> torch.Tensor:
    """Grey values as floating-point numbers: their means and differences are no whole ones."""
    return captures if captures.is_floating_point() else captures.float()
