"""``|u|^2`` in one pass, with its gradient in one more."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = ["irradiance"]


def irradiance(u: torch.Tensor) -> torch.Tensor:
    """``|u|^2`` of a complex field, real [...], differentiable to any order.

    ``u.abs().square()`` takes a root and squares it again, and has no gradient where the light is dark.

    Raises:
        InvalidArgument: a real tensor, or none.

    Example:
        >>> irradiance(torch.tensor([3 + 4j, 0j])).tolist()
        [25.0, 0.0]
    """
    if not checks.instance("u", u, torch.Tensor, "a complex tensor").is_complex():
        raise InvalidArgument("u", "a complex field", f"dtype {u.dtype}", "of an amplitude take the square")
    result: torch.Tensor = _Square.apply(u)
    return result


class _Square(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(u: torch.Tensor) -> torch.Tensor:
        return u.real.square().add_(u.imag.square())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (u,) = ctx.saved_tensors
        # real times real: a real factor would be made complex first
        parts = torch.view_as_real(u.resolve_conj()) * (2 * grad).unsqueeze(-1)
        return torch.view_as_complex(parts)

    @staticmethod
    def jvp(ctx: Any, du: torch.Tensor) -> torch.Tensor:
        (u,) = ctx.saved_tensors
        return 2 * (u.real * du.real + u.imag * du.imag)
