"""The linear convolution that free space is, with a hand-written adjoint.

The 2-D transform is taken apart: rows of darkness are never transformed, columns go through forward
transform, kernel and inverse transform in blocks that stay in the cache, and columns outside the output
window are never made whole. That is half the time of ``ifft2(fft2(pad(u)) * kernel)`` and a quarter of
its memory. The adjoint is the same routine, so nothing but the kernel is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["convolve_kernel"]

BLOCK = 64
"""Columns that go through the second transform together."""

STAGGER = 8
"""Unused samples at the end of each row: at powers of two all rows would fall into the same cache lines."""

CHUNK_BYTES = 4 * 2**20
"""Half-transformed fields of a batch that are worked on together on a CPU: what its cache holds."""


def convolve_kernel(
    u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], shape: tuple[int, int]
) -> torch.Tensor:
    """Convolve ``u``, padded with zeros, with a kernel given by its transform.

    Args:
        u: complex [..., L or 1, y, x].
        kernel: transform of the kernel with the axes exchanged: complex [L, X, Y], or only its quadrant
            [L, X // 2 + 1, Y // 2 + 1] when it is even and needs no gradient.
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
    """crop . inverse transform . kernel . transform . pad; ``swap`` exchanges the two transforms."""

    @staticmethod
    def forward(
        u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], shape: tuple[int, int], swap: bool
    ) -> torch.Tensor:
        return _run(u, kernel, size, shape, swap)

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
        size, _, swap = ctx.rest
        grad_u = grad_kernel = None
        if ctx.needs_input_grad[0]:
            # conj(kernel) between the same transforms = all of it conjugated between exchanged ones
            back = _Convolve.apply(grad.conj(), kernel, size, ctx.source[-2:], not swap).conj()
            grad_u = back.sum_to_size(ctx.source) if back.shape != ctx.source else back
        if ctx.needs_input_grad[1]:
            first = torch.fft.ifft2 if swap else torch.fft.fft2
            # the adjoint of ifft2 is fft2 / n, and that of fft2 is ifft2 * n
            scale = size[0] * size[1]
            outer = first(grad, s=size) * (scale if swap else 1 / scale)
            product = first(u, s=size).conj() * outer
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
    u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], shape: tuple[int, int], swap: bool
) -> torch.Tensor:
    first, last = (torch.fft.ifft, torch.fft.fft) if swap else (torch.fft.fft, torch.fft.ifft)
    (height, width), (rows, columns) = size, shape
    waves, source_rows = len(kernel), u.shape[-2]
    fields = u.reshape(-1, *u.shape[-3:])
    result = u.new_empty(len(fields), waves, rows, columns)
    block, chunk = max(height, width), len(fields)
    if u.device.type == "cpu":
        block = BLOCK
        chunk = max(1, CHUNK_BYTES // (max(rows, source_rows) * width * u.element_size()))
    # which stored row of the kernel belongs to a column: the mirrored one when only a quadrant is stored
    column = torch.arange(width, device=u.device)
    column = torch.minimum(column, width - column) if kernel.shape[-2] < width else column
    stored = kernel.shape[-1]
    for wave in range(waves):
        source = fields[:, wave if fields.shape[1] > 1 else 0]
        for start in range(0, len(fields), chunk):
            some = source[start : start + chunk]
            half = u.new_empty(len(some), max(rows, source_rows), width + STAGGER)[..., :width]
            for top in range(0, source_rows, block):
                end = min(top + block, source_rows)
                half[:, top:end] = first(some[:, top:end], n=width, dim=-1)
            for left in range(0, width, block):
                part = first(half[:, :source_rows, left : left + block].mT, n=height, dim=-1)
                factor = kernel[wave].index_select(0, column[left : left + block])
                part[..., :stored].mul_(factor)
                if stored < height:
                    part[..., stored:].mul_(factor[:, 1 : height - stored + 1].flip(-1))
                half[:, :rows, left : left + block] = last(part, dim=-1)[..., :rows].mT
            for top in range(0, rows, block):
                end = min(top + block, rows)
                result[start : start + chunk, wave, top:end] = last(half[:, top:end], dim=-1)[..., :columns]
    return result.reshape(*u.shape[:-3], waves, rows, columns)
