"""Fourier tools: lengths that transform fast, and the linear convolution everything here is made of."""

from __future__ import annotations

import torch

__all__ = ["convolve_kernel", "fast_length"]


def fast_length(least: int) -> int:
    """The smallest even length of at least ``least`` with no prime factor above 7.

    Example:
        >>> fast_length(1026), fast_length(3200)
        (1050, 3200)
    """
    n = least + least % 2
    while True:
        rest = n
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2


def convolve_kernel(u: torch.Tensor, kernel: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Convolve ``u`` with a kernel given by its transform, zero-padded to the kernel's size.

    Args:
        u: complex [..., y, x].
        kernel: transform of the kernel, complex [..., Y, X], broadcast against the leading axes.
        shape: samples (y, x) of the result, counted from the first sample of ``u``.

    Returns:
        complex [..., *shape].
    """
    size = kernel.shape[-2:]
    return torch.fft.ifft2(torch.fft.fft2(u, s=size) * kernel)[..., : shape[0], : shape[1]]
