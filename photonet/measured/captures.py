"""From a sensor to feature maps: cut out the captures, subtract the two of each kernel, bin."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .. import checks
from ..errors import GridMismatch, InvalidArgument

__all__ = ["cut_windows", "signed_maps"]


def cut_windows(frames: torch.Tensor, layout: tuple[int, int]) -> torch.Tensor:
    """The captures that lie side by side on a sensor.

    Args:
        frames: [n, y, x] of the sensor, which the windows fill without gaps (crop it before if they do not).
        layout: number of windows along (y, x).

    Returns:
        [n, windows, y / layout[0], x / layout[1]], row by row.

    Raises:
        InvalidArgument: not frames of one sensor, or a layout that does not divide them.

    Example:
        >>> cut_windows(torch.arange(8).reshape(1, 2, 4), (1, 2))[0].tolist()
        [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    rows, columns = (checks.count("layout", n) for n in checks.pair("layout", layout))
    if frames.ndim != 3:
        raise InvalidArgument("frames", "axes [n, y, x]", f"shape {tuple(frames.shape)}")
    if frames.shape[1] % rows or frames.shape[2] % columns:
        raise InvalidArgument("layout", f"a divisor of the frame {tuple(frames.shape[1:])}", (rows, columns))
    windows = frames.unflatten(2, (columns, -1)).unflatten(1, (rows, -1))  # [n, rows, y, columns, x]
    return windows.transpose(2, 3).flatten(1, 2)


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
    pairs = captures.unflatten(1, tuple(gain.shape)) * gain.to(captures)[..., None, None]
    signed = pairs[:, 0] - pairs[:, 1]
    return F.avg_pool2d(signed, binning) if binning > 1 else signed
