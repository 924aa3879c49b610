"""Fourier tools: lengths that transform fast, even functions, and transforms to any lattice of samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

__all__ = [
    "even_transform",
    "fast_length",
    "fourier_matrix",
    "in_strips",
    "matrix_transform",
    "mirror",
    "scratch",
    "two_products",
    "zoom_transform",
]

STRIP = 32
"""Lines that are transformed together on a CPU: with their transforms they fit into the cache."""


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


def mirror(half: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    """The whole period of an even sequence from its samples 0 to length // 2, or to where it becomes zero.

    Example:
        >>> mirror(torch.tensor([0, 1, 2]), 4, 0).tolist()
        [0, 1, 2, 1]
        >>> mirror(torch.tensor([3, 1]), 5, 0).tolist()
        [3, 1, 0, 0, 1]
    """
    stored = half.shape[dim]
    parts = [half, half.narrow(dim, 1, min(stored, length - length // 2) - 1).flip(dim)]
    if stored <= length // 2:
        shape = list(half.shape)
        shape[dim] = length - 2 * stored + 1
        parts.insert(1, half.new_zeros(()).expand(shape))
    return torch.cat(parts, dim)


def scratch(like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Uninitialised memory of the dtype and device of ``like``, for large buffers.

    NumPy asks the system for huge pages, torch does not: on a CPU the first touch of many small pages
    takes a seventh of the time of a propagation of 2048 x 2048 samples.
    """
    if like.device.type != "cpu":
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, str(like.dtype).removeprefix("torch.")))


def in_strips(
    function: Callable[[int, int], torch.Tensor], length: int, strip: int, device: torch.device
) -> torch.Tensor:
    """``function(start, stop)`` for strips of the second last axis, whose temporaries stay in the cache.

    Args:
        function: gives the samples ``start`` to ``stop`` of that axis.
        length: of the whole axis.
        strip: samples at a time on a CPU; elsewhere, all at once.
        device: where it is computed.

    Example:
        >>> in_strips(lambda a, b: torch.arange(a, b)[:, None], 5, 2, torch.device("cpu")).mT.tolist()
        [[0, 1, 2, 3, 4]]
    """
    if device.type != "cpu" or length <= strip:
        return function(0, length)
    if torch.is_grad_enabled():
        return torch.cat([function(i, min(i + strip, length)) for i in range(0, length, strip)], dim=-2)
    first = function(0, strip)
    result = scratch(first, *first.shape[:-2], length, first.shape[-1])
    result[..., :strip, :] = first
    for start in range(strip, length, strip):
        stop = min(start + strip, length)
        result[..., start:stop, :] = function(start, stop)
    return result


def even_transform(
    quadrant: torch.Tensor,
    shape: tuple[int, int],
    *,
    keep: tuple[int, int] | None = None,
    inverse: bool = False,
) -> torch.Tensor:
    """2-D transform of a function that is even in both axes, with the axes exchanged in the result.

    Args:
        quadrant: complex [..., a, b], samples 0 to half a period, or to where the function becomes zero.
        shape: the whole period (A, B).
        keep: samples of the transform that are wanted, along A and B; None for all of A and half of B.
        inverse: transform back.

    Returns:
        [..., *keep reversed]; of all that is wanted half the time of the whole transform, or less.

    Example:
        >>> a = mirror(mirror(torch.rand(3, 4).to(torch.complex128), 4, 0), 6, 1)
        >>> torch.allclose(even_transform(a[:3, :4], (4, 6)), torch.fft.fft2(a)[:, :4].mT)
        True
    """
    transform = torch.fft.ifft if inverse else torch.fft.fft
    keep = (shape[0], shape[1] // 2 + 1) if keep is None else keep

    def along(values: torch.Tensor, length: int, kept: int) -> torch.Tensor:
        def strip(start: int, stop: int) -> torch.Tensor:
            return transform(mirror(values[..., start:stop, :], length, -1))[..., :kept]

        return in_strips(strip, values.shape[-2], STRIP, values.device)

    return along(along(quadrant, shape[1], keep[1]).mT, shape[0], keep[0])


def fourier_matrix(output: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """``exp(-i 2 pi f x)`` for every frequency and position, complex128 [len(output), len(source)].

    The cycles are wrapped in float64 before they become an angle.

    Args:
        output: frequencies in 1/m, float64 [M].
        source: positions in m, float64 [N].
    """
    cycles = output[:, None] * source
    return torch.exp(-2j * math.pi * (cycles - cycles.detach().round()))


def matrix_transform(
    u: torch.Tensor, fy: torch.Tensor, y: torch.Tensor, fx: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    """Fourier sum of ``u`` at any frequencies, by two matrix products: best for few output samples.

    Source: Soummer et al., Opt. Express 15, 15935 (2007).

    Args:
        u: complex [..., y, x].
        fy, fx: frequencies in 1/m, float64 [M_y], [M_x].
        y, x: positions of the samples in m, float64 [y], [x].

    Returns:
        ``sum u exp(-i 2 pi (fy y + fx x))``, complex [..., M_y, M_x].

    Example:
        >>> u = torch.rand(1, 4, 6).to(torch.complex128)
        >>> f = [torch.fft.fftfreq(n, dtype=torch.float64) for n in (4, 6)]
        >>> n = [torch.arange(n, dtype=torch.float64) for n in (4, 6)]
        >>> torch.allclose(matrix_transform(u, f[0], n[0], f[1], n[1]), torch.fft.fft2(u))
        True
    """
    return two_products(u, fourier_matrix(fy, y).to(u.dtype), fourier_matrix(fx, x).to(u.dtype))


def two_products(u: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left @ u @ right.mT`` for u [..., y, x], left [M_y, y], right [M_x, x], in the cheaper order.

    Example:
        >>> two_products(torch.ones(2, 3), torch.ones(1, 2), torch.ones(4, 3)).tolist()
        [[6.0, 6.0, 6.0, 6.0]]
    """
    (rows, height), (columns, width) = left.shape, right.shape
    if rows * width * (height + columns) < columns * height * (width + rows):
        return (left @ u) @ right.mT
    return left @ (u @ right.mT)


def zoom_transform(
    u: torch.Tensor, dim: int, step: torch.Tensor, first: torch.Tensor, origin: torch.Tensor, count: int
) -> torch.Tensor:
    """Fourier sum along one axis at ``count`` equally spaced frequencies, by the chirp-z transform.

    ``sum_n u[n] exp(-i 2 pi (first + step m)(n + origin))`` for m = 0 to count - 1, in n log n. The chirps
    are wrapped in float64.
    Source: Rabiner, Schafer and Rader, Bell Syst. Tech. J. 48, 1249 (1969).

    Args:
        u: complex [..., N, ...].
        dim: the axis.
        step: distance of the frequencies, in cycles per sample; float64 scalar.
        first: the first frequency, in cycles per sample.
        origin: position of sample 0, in samples.
        count: number of frequencies.

    Returns:
        complex [..., count, ...].

    Example:
        >>> one = lambda v: torch.tensor(v, dtype=torch.float64)
        >>> u = torch.rand(6).to(torch.complex128)
        >>> torch.allclose(zoom_transform(u, 0, one(1 / 6), one(0.0), one(0.0), 6), torch.fft.fft(u))
        True
    """
    u = u.movedim(dim, -1)
    length = u.shape[-1]
    n = torch.arange(length, dtype=torch.float64, device=u.device)
    m = torch.arange(count, dtype=torch.float64, device=u.device)
    lags = torch.arange(-(length - 1), count, dtype=torch.float64, device=u.device)

    def turn(cycles: torch.Tensor) -> torch.Tensor:
        return torch.exp(2j * math.pi * (cycles - cycles.detach().round())).to(u.dtype)

    # n m = (n^2 + m^2 - (m - n)^2) / 2
    before = turn(-(step * n**2 / 2 + first * n))
    after = turn(-(step * m**2 / 2 + (first + step * m) * origin))
    chirp = turn(step * lags**2 / 2)
    size = fast_length(length + count - 1)
    spectrum = torch.fft.fft(u * before, n=size) * torch.fft.fft(chirp, n=size)
    return (torch.fft.ifft(spectrum)[..., length - 1 : length - 1 + count] * after).movedim(-1, dim)
