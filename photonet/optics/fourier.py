"""Fourier tools: lengths that transform fast, even functions, and transforms to any lattice of samples."""

from __future__ import annotations

import math

import torch

__all__ = [
    "even_transform",
    "fast_length",
    "fourier_matrix",
    "matrix_transform",
    "mirror",
    "two_products",
    "zoom_transform",
]


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
    """The whole period of an even sequence from its samples 0 to length // 2.

    Example:
        >>> mirror(torch.tensor([0, 1, 2]), 4, 0).tolist()
        [0, 1, 2, 1]
    """
    index = torch.arange(length, device=half.device)
    return half.index_select(dim, torch.minimum(index, length - index))


def even_transform(quadrant: torch.Tensor, shape: tuple[int, int], *, inverse: bool = False) -> torch.Tensor:
    """2-D transform of a function that is even in both axes, quadrant in and quadrant out.

    Args:
        quadrant: complex [..., A // 2 + 1, B // 2 + 1], samples 0 to half a period.
        shape: the whole period (A, B).
        inverse: transform back.

    Returns:
        The same shape: the quadrant of the transform, at half the cost of the whole one.

    Example:
        >>> a = mirror(mirror(torch.rand(3, 4).to(torch.complex128), 4, 0), 6, 1)
        >>> torch.allclose(even_transform(a[:3, :4], (4, 6)), torch.fft.fft2(a)[:3, :4])
        True
    """
    transform = torch.fft.ifft if inverse else torch.fft.fft
    rows = transform(mirror(quadrant, shape[1], -1), dim=-1)[..., : shape[1] // 2 + 1]
    # the second axis is transformed where it is contiguous
    columns = transform(mirror(rows.mT, shape[0], -1), dim=-1)[..., : shape[0] // 2 + 1]
    return columns.mT


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
