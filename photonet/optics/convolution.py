"""The linear convolution that free space is, with a hand-written adjoint.

The 2-D transform is taken apart: rows of darkness are never transformed, columns go through forward
transform, kernel and inverse transform in blocks that stay in the cache, and columns outside the output
window are never made whole. That is a third of the time of ``ifft2(fft2(pad(u)) * kernel)`` and a quarter
of its memory. The adjoint is the same routine, so nothing but the kernel is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch

from .fourier import STRIP, scratch

__all__ = ["convolve_kernel"]

STAGGER = 8
"""Unused samples after each column: at powers of two all columns would fall into the same cache lines."""

STRIP_SAMPLES = 2**15
"""Samples of the lines that are transformed together, where they are short: calls cost, too."""

CHUNK_BYTES = 4 * 2**20
"""Half-transformed fields of a batch that are worked on together on a CPU: what its cache holds."""


def convolve_kernel(
    u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], shape: tuple[int, int]
) -> torch.Tensor:
    """Convolve ``u``, padded with zeros, with a kernel given by its transform.

    Args:
        u: complex [..., L or 1, y, x].
        kernel: transform of the kernel with the axes exchanged: complex [L, X, Y], or only its first
            half [L, X // 2 + 1, Y] when it is even along x and needs no gradient.
        size: samples (Y, X) of the transform.
        shape: samples (y, x) of the result, counted from the first sample of ``u``.

    Returns:
        complex [..., L, *shape]. Differentiable, twice too, in ``u`` and in ``kernel``.

    Example:
        >>> u = torch.rand(1, 3, 4).to(torch.complex128)
        >>> kernel = torch.ones(1, 8, 6, dtype=torch.complex128)
        >>> torch.allclose(convolve_kernel(u, kernel, (6, 8), (3, 4)), u)
        True
    """
    result: torch.Tensor = _Convolve.apply(u, kernel, size, shape, False)
    return result


class _Convolve(torch.autograd.Function):
    """crop . inverse transform . kernel . transform . pad; ``adjoint`` conjugates the kernel."""

    @staticmethod
    def forward(
        u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], shape: tuple[int, int], adjoint: bool
    ) -> torch.Tensor:
        return _run(u, kernel, size, shape, adjoint)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        u, kernel, *ctx.rest = inputs
        ctx.source = u.shape
        # the field is only needed for the gradient of the kernel
        ctx.save_for_backward(kernel, u if ctx.needs_input_grad[1] else None)
        ctx.save_for_forward(u, kernel)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        kernel, u = ctx.saved_tensors
        size, _, adjoint = ctx.rest
        grad_u = grad_kernel = None
        if ctx.needs_input_grad[0]:
            back = _Convolve.apply(grad, kernel, size, ctx.source[-2:], not adjoint)
            grad_u = back.sum_to_size(ctx.source) if back.shape != ctx.source else back
        if ctx.needs_input_grad[1]:
            # the adjoint of the inverse transform is the transform over the number of samples
            spectrum, outer = torch.fft.fft2(u, s=size), torch.fft.fft2(grad, s=size) / (size[0] * size[1])
            product = spectrum * outer.conj() if adjoint else spectrum.conj() * outer
            grad_kernel = product.flatten(0, -4).sum(0) if product.ndim > 3 else product
            grad_kernel = grad_kernel.sum_to_size(len(kernel), *size).mT
        return grad_u, grad_kernel, None, None, None

    @staticmethod
    def jvp(ctx: Any, du: Any, dkernel: Any, *_: Any) -> Any:
        u, kernel = ctx.saved_tensors
        parts = []
        if du is not None:
            parts.append(_Convolve.apply(du, kernel, *ctx.rest))
        if dkernel is not None:
            parts.append(_Convolve.apply(u, dkernel, *ctx.rest))
        return sum(parts)

    @staticmethod
    def vmap(info: Any, in_dims: Any, u: torch.Tensor, kernel: torch.Tensor, *rest: Any) -> Any:
        along_u, along_kernel = in_dims[:2]
        if along_kernel is None:
            return _Convolve.apply(u.movedim(along_u, 0), kernel, *rest), 0
        kernels = kernel.movedim(along_kernel, 0)
        fields = [u] * len(kernels) if along_u is None else u.movedim(along_u, 0)
        return torch.stack([_Convolve.apply(f, k, *rest) for f, k in zip(fields, kernels, strict=True)]), 0


def _run(
    u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], shape: tuple[int, int], adjoint: bool
) -> torch.Tensor:
    (height, width), (rows, columns) = size, shape
    waves, (source_rows, source_columns) = len(kernel), u.shape[-2:]
    # with the kernel K the adjoint is F* K* F*^-1, that is the conjugate of F K F^-1 of the conjugate
    there, back = (torch.fft.ifft, torch.fft.fft) if adjoint else (torch.fft.fft, torch.fft.ifft)
    fields = u.reshape(-1, *u.shape[-3:])
    fields = fields.conj() if adjoint else fields
    result = u.new_empty(len(fields), waves, rows, columns)
    tall = max(rows, source_rows)
    block, chunk = max(tall, width), len(fields)
    if u.device.type == "cpu":
        block = max(STRIP, STRIP_SAMPLES // width)
        chunk = max(1, min(chunk, CHUNK_BYTES // (tall * width * u.element_size())))
    # turned by 90 degrees, so that the second transform finds each column in one piece
    half = scratch(u, chunk, width, tall + STAGGER)[..., :tall]
    # what is transformed next, in front of a darkness that is written once
    long = u.new_zeros(chunk, min(block, source_rows), width)
    high = u.new_zeros(chunk, min(block, width), height)
    for wave in range(waves):
        source = fields[:, wave if fields.shape[1] > 1 else 0]
        for start in range(0, len(fields), chunk):
            some = source[start : start + chunk]
            count = len(some)
            turned = half[:count]
            for top in range(0, source_rows, block):
                end = min(top + block, source_rows)
                strip = long[:count, : end - top]
                strip[..., :source_columns] = some[:, top:end]
                turned[..., top:end] = there(strip).mT
            for left in range(0, width, block):
                right = min(left + block, width)
                strip = high[:count, : right - left]
                strip[..., :source_rows] = turned[:, left:right, :source_rows]
                part = there(strip).mul_(_columns(kernel[wave], left, right, width))
                turned[:, left:right, :rows] = back(part)[..., :rows]
            for top in range(0, rows, block):
                end = min(top + block, rows)
                strip = back(turned[..., top:end].mT)[..., :columns]
                result[start : start + count, wave, top:end] = strip.conj() if adjoint else strip
    return result.reshape(*u.shape[:-3], waves, rows, columns)


def _columns(kernel: torch.Tensor, left: int, right: int, width: int) -> torch.Tensor:
    """Rows ``left`` to ``right`` of a kernel of ``width`` rows; those not stored mirror the others."""
    stored = len(kernel)
    if right <= stored:
        return kernel[left:right]
    mirrored = kernel[width - right + 1 : width - max(left, stored) + 1].flip(0)
    return torch.cat([kernel[left:], mirrored]) if left < stored else mirrored
