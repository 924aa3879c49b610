"""What each layer contributes: from its input and the gradient at its output to Jacobian factors.

A rule is a function ``rule(layer, x, delta) -> {parameter name: factor}`` with ``x`` [n, ...] the layer's
input, ``delta`` [n, m, ...] the gradient of m output directions with respect to the layer's output, and
factors as in `photonet.ntk.factors` (a tensor [n, m, *parameter shape], or an `Outer`).

To add a layer of your own, give it a method ``ntk_factors(x, delta)`` that returns the same dictionary,
for every parameter it owns directly. Without it the layer takes part through
`photonet.ntk.vjp.per_sample_vjp`, which is exact for any layer that maps one tensor to one tensor sample by
sample, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidArgument
from .convolution import channel_sums, conv, conv_transpose
from .factors import Factor, Outer

__all__ = ["RULES", "HasFactors", "rule_for"]

Rule = Callable[[Any, Tensor, Tensor], Mapping[str, Factor]]


@runtime_checkable
class HasFactors(Protocol):
    """A layer that knows its own Jacobian: the extension point of this package's kernels."""

    def ntk_factors(self, x: Tensor, delta: Tensor) -> Mapping[str, Factor]:
        """Factors of every parameter the layer owns directly.

        Args:
            x: the layer's input, [n, ...].
            delta: gradient of m output directions with respect to the layer's output, [n, m, ...].

        Returns:
            parameter name -> tensor [n, m, *parameter shape], or `Outer`.
        """
        ...


def _linear(layer: nn.Linear, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    n, m = delta.shape[:2]
    act = x.reshape(n, 1, 1, -1, layer.in_features)
    gradient = delta.reshape(n, m, 1, -1, layer.out_features)
    weight = Outer(act, gradient)
    if layer.bias is None:
        return {"weight": weight}
    return {"weight": weight, "bias": Outer(act.new_ones(*act.shape[:4], 1), gradient)}


def _no_max_norm(layer: Any) -> None:
    if layer.max_norm is not None:
        raise InvalidArgument(
            "model", "embeddings without max_norm", layer, "max_norm changes the weights in the forward pass"
        )


def _embedding(layer: nn.Embedding, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    _no_max_norm(layer)
    n, m = delta.shape[:2]
    chosen = F.one_hot(x.reshape(n, 1, 1, -1), layer.num_embeddings).to(delta.dtype)
    if layer.padding_idx is not None:
        chosen = chosen * (x != layer.padding_idx).reshape(n, 1, 1, -1, 1)
    return {"weight": Outer(delta.reshape(n, m, 1, -1, layer.embedding_dim), chosen)}


def _embedding_bag(layer: nn.EmbeddingBag, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    _no_max_norm(layer)
    if layer.mode == "max":  # not linear in the weights
        return {}
    chosen = F.one_hot(x, layer.num_embeddings).to(delta.dtype)
    if layer.padding_idx is not None:
        chosen = chosen * (x != layer.padding_idx).unsqueeze(-1)
    counts = chosen.sum(1)
    if layer.mode == "mean":
        counts = counts / counts.sum(1, keepdim=True).clamp_min(1)
    return {"weight": Outer(delta[:, :, None, None], counts[:, None, None, None])}


def _per_channel(layer: Any, normalised: Tensor, delta: Tensor) -> dict[str, Factor]:
    """Scale and shift of one number per channel; channels are axis 1 of the layer's output."""
    product = delta * normalised.unsqueeze(1)
    return {"weight": product.reshape(*product.shape[:3], -1).sum(3)} | channel_sums(layer, delta)


def _batch_norm(layer: Any, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    normalised = F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)
    return _per_channel(layer, normalised, delta)


def _instance_norm(layer: Any, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    # given statistics or the sample's own: either way as the layer does it, without its scale and shift
    normalised = F.instance_norm(
        x, layer.running_mean, layer.running_var, use_input_stats=layer.running_mean is None, eps=layer.eps
    )
    return _per_channel(layer, normalised, delta)


def _group_norm(layer: nn.GroupNorm, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    return _per_channel(layer, F.group_norm(x, layer.num_groups, eps=layer.eps), delta)


def _layer_norm(layer: nn.LayerNorm, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    normalised = F.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    product, shape = delta * normalised.unsqueeze(1), (*delta.shape[:2], -1, *layer.normalized_shape)
    return {"weight": product.reshape(shape).sum(2), "bias": delta.reshape(shape).sum(2)}


def _prelu(layer: nn.PReLU, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    product = delta * x.clamp_max(0).unsqueeze(1)
    if layer.num_parameters == 1:
        return {"weight": product.reshape(*product.shape[:2], -1).sum(2, keepdim=True)}
    return {"weight": product.reshape(*product.shape[:3], -1).sum(3)}


# Keyed by the exact class: a subclass may compute something else, and then takes the general road.
RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.Conv1d: conv,
    nn.Conv2d: conv,
    nn.Conv3d: conv,
    nn.ConvTranspose1d: conv_transpose,
    nn.ConvTranspose2d: conv_transpose,
    nn.ConvTranspose3d: conv_transpose,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding_bag,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    nn.InstanceNorm1d: _instance_norm,
    nn.InstanceNorm2d: _instance_norm,
    nn.InstanceNorm3d: _instance_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.PReLU: _prelu,
}


def rule_for(layer: nn.Module) -> Rule | None:
    """The closed rule of a layer, or None when only `photonet.ntk.vjp.per_sample_vjp` can serve it."""
    if isinstance(layer, HasFactors) and not _forward_is_newer(type(layer)):
        return lambda owner, x, delta: owner.ntk_factors(x, delta)
    return RULES.get(type(layer))


def _forward_is_newer(kind: type) -> bool:
    """Whether a subclass computes something else than the class that knows its Jacobian."""
    order = kind.__mro__
    places = [
        next((n for n, c in enumerate(order) if name in vars(c)), len(order))
        for name in ("forward", "ntk_factors")
    ]
    return places[0] < places[1]
