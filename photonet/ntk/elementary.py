"""Operations whose second derivative torch 2.13 has wrong or not at all, written in elementary ones.

The derivative of `torch._weight_norm` cannot be differentiated rightly, under vmap those of layer and
instance normalisation forget that mean and variance depend on the input, and that of bags of embeddings has
no derivative. Kernels are right all the same; it is about their gradient, which trains a student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..precision import single

__all__ = ["Elementary"]


class Elementary(TorchFunctionMode):
    """A context in which these operations are made of others; it says the same of the values.

    Example:
        >>> x = torch.randn(3, 4)
        >>> with Elementary():
        ...     found = F.layer_norm(x, (4,))
        >>> torch.allclose(found, F.layer_norm(x, (4,)), atol=1e-6)
        True
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace one call of torch."""
        return STEPS.get(func, func)(*args, **(kwargs or {}))


def _standardised(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    values = single(x)
    centred = values - values.mean(tuple(axes), keepdim=True)
    return (centred * (centred.square().mean(tuple(axes), keepdim=True) + eps).rsqrt()).to(x.dtype)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    return _affine(_standardised(input, range(-len(normalized_shape), 0), eps), weight, bias)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:  # of statistics that are given, torch knows the derivatives
        return F.instance_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    channels = (-1, *(1,) * (input.ndim - 2))
    found = _standardised(input, range(2, input.ndim), eps)
    return _affine(found, *(None if p is None else p.reshape(channels) for p in (weight, bias)))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    others = [axis for axis in range(v.ndim) if axis != dim]  # all of them for dim = -1, one norm of all
    return v * (g / torch.linalg.vector_norm(v, dim=others, keepdim=True))


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    if input.ndim == 1 or max_norm is not None or per_sample_weights is not None:
        return F.embedding_bag(
            input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            per_sample_weights, include_last_offset, padding_idx,
        )  # fmt: skip
    rows = F.embedding(input, weight)
    padded = torch.zeros_like(input, dtype=torch.bool) if padding_idx is None else input == padding_idx
    padded = padded.unsqueeze(-1)
    if mode == "max":
        found = rows.masked_fill(padded, -torch.inf).max(dim=1).values
        return found.masked_fill(padded.all(dim=1), 0)
    total = rows.masked_fill(padded, 0).sum(dim=1)
    return total if mode == "sum" else total / (~padded).sum(dim=1).clamp_min(1)


STEPS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.instance_norm: _instance_norm,
    F.embedding_bag: _embedding_bag,
    torch._weight_norm: _weight_norm,
}
