"""What `torch.func` and forward-mode differentiation make of tensors: wrappers, batches, tangents."""

from __future__ import annotations

from typing import Any

import torch
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor, maybe_get_bdim
from torch.autograd import forward_ad

__all__ = ["numbers", "tracked", "unwrapped"]


def tracked(*values: Any) -> bool:
    """Whether a derivative may be asked for: of a graph, a forward-mode tangent or a `torch.func` transform.

    ``requires_grad`` alone says nothing of the last two. What a transform has wrapped counts even where it is
    constant: the wrapper does not tell.

    Args:
        values: tensors, or numbers, of which nothing is asked.

    Example:
        >>> torch.func.grad(lambda z: z * tracked(z))(torch.ones(())).item()
        1.0
        >>> tracked(torch.ones(()), 1.0)
        False
    """
    return any(
        value.requires_grad
        or is_functorch_wrapped_tensor(value)
        or forward_ad.unpack_dual(value).tangent is not None
        for value in values
        if isinstance(value, torch.Tensor)
    )


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The plain tensor inside the wrappers of `torch.func`: for what outlives them, and for decisions.

    Args:
        tensor: [...]; anything derived from what is returned has no derivative in those transforms.

    Returns:
        [...], behind the axes of the batches of `torch.func.vmap`.

    Example:
        >>> seen = []
        >>> double = torch.func.vmap(lambda x: seen.append(unwrapped(x)) or 2 * x, in_dims=1)
        >>> double(torch.ones(2, 3)).shape, seen[0].shape
        (torch.Size([3, 2]), torch.Size([3, 2]))
    """
    while is_functorch_wrapped_tensor(tensor):
        axis = maybe_get_bdim(tensor)
        tensor = get_unwrapped(tensor)
        tensor = tensor if axis < 0 else tensor.movedim(axis, 0)
    return tensor


def numbers(tensor: torch.Tensor) -> tuple[float, ...]:
    """The values of a row as numbers, also inside transforms, where torch 2.6 has no ``tolist``.

    Args:
        tensor: [n].

    Example:
        >>> torch.func.grad(lambda w: w.sum() * numbers(w)[1])(torch.tensor([1.0, 2.0]))
        tensor([2., 2.])
    """
    return tuple(float(value) for value in tensor.detach().cpu())  # at once, not one by one, from a GPU
