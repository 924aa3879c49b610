"""The transform of the propagation kernel that a plan asks for, and a small cache of them."""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from ..arrays import real_dtype
from ..grid import Grid
from . import kernels
from .fourier import even_transform, in_strips, mirror
from .plan import Plan
from .sampling import walking

__all__ = ["cached", "clear_cache", "transfer"]

CACHE_BYTES = 2**30
"""Kernels kept at most, in bytes; the least recently used go first."""

STRIP_SAMPLES = 2**15
"""Samples of a kernel that are computed together on a CPU."""

SMOOTH = (0.5, 0.9)
"""Part of the sampling limit up to which, and from which on, the two kernels are mixed."""

_cache: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
_lock = threading.Lock()


def transfer(
    choice: Plan,
    grid: Grid,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    output: Grid,
    pitch: tuple[torch.Tensor, torch.Tensor],
    dtype: torch.dtype,
    *,
    envelope: bool = False,
) -> torch.Tensor:
    """Transform of the kernel, axes exchanged, differentiable.

    Args:
        choice: from `plan.plan`.
        grid: samples of the source plane.
        wavelength: float64 [L] in m.
        distance: float64 scalar in m.
        output: samples of the destination plane; of another pitch, only its place matters.
        pitch: of the source (y, x) in m, float64 scalars that may require a gradient.
        dtype: of the result; phases are computed in double before they are cast.
        envelope: leave ``exp(i k z)`` out.

    Returns:
        [L, X, Y], or the half [L, X // 2 + 1, Y] of an even kernel.
    """
    device = wavelength.device
    # from the source's first sample to the output's, and lags up to the output's last sample; of another
    # pitch, a spectrum is summed where the output's samples are, so the kernel is not shifted
    same_pitch = all(abs(a / b - 1) < 1e-9 for a, b in zip(grid.pitch, output.pitch, strict=True))
    if same_pitch:
        shift = [
            c_out - c_in - (m // 2 - n // 2) * d
            for c_out, c_in, m, n, d in zip(
                output.centre, grid.centre, output.shape, grid.shape, pitch, strict=True
            )
        ]
        lags: tuple[int, ...] = output.shape
    else:
        shift = [torch.zeros_like(d) for d in pitch]
        ends = zip((output.y, output.x), (grid.y, grid.x), grid.pitch, strict=True)
        lags = tuple(math.ceil(float(last[-1] - first[0]) / d) + 1 for last, first, d in ends)
    even = _even(choice, [float(s.detach()) / d for s, d in zip(shift, grid.pitch, strict=True)])
    height, width = choice.shape

    def counts(length: int, stop: int) -> torch.Tensor:
        """Of every sample in circular order the index below ``stop``; of even ones, half the period."""
        if even:
            return torch.arange(length // 2 + 1, dtype=torch.float64, device=device)
        index = torch.arange(length, dtype=torch.float64, device=device)
        return (index - stop) % length + (stop - length)

    def spectrum(function: Callable[..., torch.Tensor], **options: bool) -> torch.Tensor:
        """Of the frequencies [X, Y]; what is computed in double before it is cast down stays in the cache."""
        at = functools.partial(
            function, wavelength=wavelength, distance=distance, envelope=envelope, **options
        )
        return in_strips(
            lambda a, b: at(fy[None, :], fx[a:b, None]).to(dtype),
            len(fx),
            max(1, STRIP_SAMPLES // len(fy)),
            device,
        )

    def response(function: Callable[..., torch.Tensor], y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Of the positions, [Y, X]: the transform exchanges the axes."""
        cell = pitch[0] * pitch[1]
        at = functools.partial(function, wavelength=wavelength, distance=distance, envelope=envelope)
        return in_strips(
            lambda a, b: (cell * at(y[a:b, None], x[None, :])).to(dtype),
            len(y),
            max(1, STRIP_SAMPLES // len(x)),
            device,
        )

    def transform(values: torch.Tensor) -> torch.Tensor:
        return even_transform(values, choice.shape) if even else torch.fft.fft2(values.mT).contiguous()

    y = counts(height, lags[0]) * pitch[0] + (0 if even else shift[0])
    x = counts(width, lags[1]) * pitch[1] + (0 if even else shift[1])
    if choice.method == "rayleigh_sommerfeld":
        return transform(response(kernels.rayleigh_sommerfeld, y, x))
    if choice.method == "fresnel_response":
        return transform(response(kernels.fresnel_response, y, x))
    fy = counts(height, (height + 1) // 2) / (height * pitch[0])
    fx = counts(width, (width + 1) // 2) / (width * pitch[1])
    if choice.method == "fresnel":
        kernel = spectrum(kernels.fresnel)
    else:
        kernel = spectrum(kernels.angular_spectrum, travelling=_travelling(choice, grid, wavelength))
    if not even:
        for f, s, dim in ((fy, shift[0], -2), (fx, shift[1], -1)):
            kernel = kernel * torch.exp(2j * math.pi * f * s).unsqueeze(dim).to(dtype)
    mixed = None
    if choice.smooth:
        limits = [wavelength.detach().min() / (2 * d) for d in grid.pitch]
        tapers = [_taper(p.detach(), distance.detach(), s) for p, s in zip((y, x), limits, strict=True)]
        if even:
            # the rest of the two tapers, which fall from the centre, is zero
            keep = (int((tapers[0] > 0).sum()), int((tapers[1] > 0).sum()))
            there = even_transform(kernel, (width, height), keep=(keep[1], keep[0]), inverse=True)
        else:
            keep, there = (height, width), torch.fft.ifft2(kernel).mT
        weights = [t[:n].to(real_dtype(dtype)) for t, n in zip(tapers, keep, strict=True)]
        direct = response(kernels.rayleigh_sommerfeld, y[: keep[0]], x[: keep[1]])
        mixed = transform((direct - there) * (weights[0][:, None] * weights[1]))
        del direct, there
    kernel = mirror(kernel, height, -1) if even else kernel
    kernel = kernel if mixed is None else kernel + mixed
    return _limit(kernel, choice, wavelength, fy, fx)


def _even(choice: Plan, shift: list[float]) -> bool:
    """Whether half of the kernel says all of it, because sample -j of the period is the same as sample j.

    Free space is even in both axes, but what is stored of it need not be:

    - A ``shift`` (in samples) of the output's lattice against the source's moves the middle between samples.
    - The band that `_limit` keeps is that of the light on its way to the window. Beside the axis it has
      other ends on the left than on the right, and with them the kernel.
    - N source samples and M output samples ask for lags from -(N - 1) to M - 1. The period has N + M
      samples, so the mirror holds lags up to (N + M) / 2: all of them only if M and N are alike. With the
      first samples upon each other, a larger or smaller window has its middle beside the source's.

    The last two are even just if the window lies around the source's middle, which is when the intervals of
    ``sin(theta)`` are symmetric. They are infinite where nothing is cut and no lag counts: of a periodic
    window, or over no distance.
    """
    intervals = (*choice.reach, *choice.band)
    return all(abs(s) < 1e-12 for s in shift) and all(
        low == -math.inf or abs(low + high) <= 1e-9 * (high - low) for low, high in intervals
    )


def _travelling(choice: Plan, grid: Grid, wavelength: torch.Tensor) -> bool:
    """Whether `_limit` leaves no evanescent light, which spreads at least as far as light at 45 degrees."""
    longest = float(wavelength.detach().max())
    fine = any(
        longest > 2 * d and max(map(abs, band)) > math.sqrt(0.5)
        for d, band in zip(grid.pitch, choice.band, strict=True)
    )
    return not fine and all(y**2 + x**2 < 1 for y, x in choice.band_limit)


def _taper(position: torch.Tensor, distance: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """One where the impulse response is sampled well, falling to zero before its sampling limit."""
    part = position.abs() / torch.hypot(position, distance) / limit
    return _fall((part - SMOOTH[0]) / (SMOOTH[1] - SMOOTH[0]))


def _fall(t: torch.Tensor) -> torch.Tensor:
    """From one at t <= 0 to zero at t >= 1; all derivatives vanish at both ends."""
    remaining = torch.exp(-1 / (1 - t).clamp(1e-9, 1))
    return remaining / (remaining + torch.exp(-1 / t.clamp(1e-9, 1)))


def _limit(
    kernel: torch.Tensor, choice: Plan, wavelength: torch.Tensor, fy: torch.Tensor, fx: torch.Tensor
) -> torch.Tensor:
    """Fade out the light that misses the output, before it would come back on the other side."""
    for f, inner, outer, dim in (
        (fy, choice.reach[0], choice.band[0], -2),
        (fx, choice.reach[1], choice.band[1], -1),
    ):
        sines = wavelength[:, None] * f
        sines = sines if choice.method == "fresnel" else walking(sines)
        if sines.max() <= outer[1] and sines.min() >= outer[0]:
            continue
        low = (inner[0] - sines) / max(inner[0] - outer[0], 1e-12)
        high = (sines - inner[1]) / max(outer[1] - inner[1], 1e-12)
        keep = _fall(torch.maximum(low, high))
        if keep.shape[-1] < kernel.shape[-3 - dim]:
            keep = mirror(keep, kernel.shape[-3 - dim], -1)
        kernel = kernel * keep.unsqueeze(dim).to(real_dtype(kernel.dtype))
    return kernel


def cached(key: Hashable, build: Callable[[], torch.Tensor]) -> torch.Tensor:
    """``build()``, or what it gave the last time under the same key (which must hold every input)."""
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    # a tensor made in inference mode could not be saved for a later backward pass
    with torch.inference_mode(False), torch.no_grad():
        kernel = build()
    with _lock:
        _cache[key] = kernel
        size = sum(k.numel() * k.element_size() for k in _cache.values())
        while size > CACHE_BYTES:
            _, oldest = _cache.popitem(last=False)
            size -= oldest.numel() * oldest.element_size()
    return kernel


def clear_cache() -> None:
    """Forget all kernels."""
    with _lock:
        _cache.clear()
