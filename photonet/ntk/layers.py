"""What each layer contributes: from its input and the gradient at its output to Jacobian factors.

A rule is a function ``rule(layer, x, delta) -> {parameter name: factor}`` with ``x`` [n, ...] the layer's
input, ``delta`` [n, m, ...] the gradient of m output directions with respect to the layer's output, and
factors as in `photonet.ntk.factors` (a tensor [n, m, *parameter shape], or an `Outer`).

To add a layer of your own, give it a method ``ntk_factors(x, delta)`` that returns the same dictionary,
for every parameter it owns directly. Without it the layer takes part through `per_sample_vjp`, which is
exact for any layer that maps one tensor to one tensor sample by sample, only slower.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidArgument
from .correlate import crop
from .factors import Correlation, Factor, Outer

__all__ = [
    "AVERAGE_POOLS",
    "RULES",
    "HasFactors",
    "Pool",
    "box_means",
    "conv_factor",
    "conv_pool",
    "folds",
    "per_sample_vjp",
    "rule_for",
]

Pool = nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)

Rule = Callable[[Any, Tensor, Tensor], Mapping[str, Factor]]

log = logging.getLogger("photonet.ntk")
_told: WeakSet[nn.Module] = WeakSet()  # layers whose samples were reported to go one by one


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


def per_sample_vjp(
    layer: nn.Module, parameters: Mapping[str, Tensor], x: Tensor, delta: Tensor
) -> dict[str, Tensor]:
    """Per-sample gradients of any module by `torch.func`: exact, without knowing what it computes.

    Where vmap does not know an operator (recurrent layers), samples and directions go one by one, which is
    logged once per layer (logger photonet.ntk).

    Args:
        layer: a module whose samples are independent.
        parameters: the parameters to differentiate, named as in ``layer.named_parameters()``.
        x: [n, ...].
        delta: [n, m, ...], one gradient per direction at the module's output.

    Returns:
        name -> [n, m, *parameter shape].

    Raises:
        InvalidArgument: the module draws random numbers, which would be others than in the forward pass.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> x, delta = torch.ones(5, 3), torch.ones(5, 4, 2)
        >>> per_sample_vjp(layer, dict(layer.named_parameters()), x, delta)["weight"].shape
        torch.Size([5, 4, 2, 3])
    """
    wanted = dict(parameters)
    # weights that a hook makes of others (pruning, the old weight norm) are attributes, and stay as they were
    plain = [(m, {k: v for k, v in vars(m).items() if isinstance(v, Tensor)}) for m in layer.modules()]
    try:
        return _by_vjp(layer, wanted, x, delta)
    finally:
        for module, tensors in plain:
            vars(module).update(tensors)


def _by_vjp(layer: nn.Module, wanted: dict[str, Tensor], x: Tensor, delta: Tensor) -> dict[str, Tensor]:
    def pull_of(sample: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
        def forward(values: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(layer, values, (sample.unsqueeze(0),)).squeeze(0)

        pull = torch.func.vjp(forward, wanted)[1]
        return lambda gradient: pull(gradient)[0]

    def one_sample(sample: Tensor, gradients: Tensor) -> dict[str, Tensor]:
        # Not a second vmap over the directions: where there are as many as samples, torch's batching rule of
        # prelu's derivative takes the one axis for the other. This costs the same.
        pull = pull_of(sample)
        return _stack([pull(gradient) for gradient in gradients])

    with warnings.catch_warnings():
        # some operators have no batching rule and are looped over: slow, but that is what this road is
        warnings.filterwarnings("ignore", message="There is a performance drop")
        try:
            return torch.func.vmap(one_sample)(x, delta)
        except RuntimeError as error:
            if "random operation" in str(error):
                raise _random(layer) from None
    if layer not in _told:
        _told.add(layer)
        log.warning(
            "%s: vmap cannot run it, so its samples go one by one, which is slow", type(layer).__name__
        )
    before = torch.get_rng_state()
    rows = []
    for sample, gradients in zip(x, delta, strict=True):
        pull = pull_of(sample)
        if not torch.equal(torch.get_rng_state(), before):
            raise _random(layer)
        rows.append(_stack([pull(gradient) for gradient in gradients]))
    return _stack(rows)


def _stack(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _random(layer: nn.Module) -> InvalidArgument:
    return InvalidArgument(
        "model",
        "no random numbers (dropout in training mode, noise) where torch.func has to run it again",
        type(layer).__name__,
        "they would be others than in the forward pass: use model.eval(), or give the layer ntk_factors",
    )


def conv_factor(
    x: Tensor,
    delta: Tensor,
    kernel: tuple[int, ...],
    *,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
    mirrored: bool = False,
) -> Correlation:
    """Jacobian factor of a convolution's weight [c_out, c_in / groups, *kernel], for layers built on one.

    Args:
        x: padded input, [n, c_in, *space].
        delta: [n, m, c_out, *positions].
        kernel, stride, dilation: one value per spatial axis.
        groups: as in `torch.nn.Conv2d`.
        mirrored: for a true convolution; those of torch are correlations.
    """
    seen = crop(x, delta.shape[3:], kernel, stride, dilation)
    return Correlation(seen.unsqueeze(1), delta, kernel, stride, dilation, groups, mirrored)


def box_means(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over boxes at every place where one fits: average pooling with stride 1.

    Sums of shifted copies, axis by axis, are five times faster than the pools of torch.

    Args:
        x: [n, c, *space].
        size: of the box, one value per spatial axis.

    Example:
        >>> box_means(torch.tensor([[[1.0, 3.0, 5.0]]]), (2,)).tolist()
        [[[2.0, 4.0]]]
    """
    for axis, count in enumerate(size, start=2):
        length = x.shape[axis] - count + 1
        total = x.narrow(axis, 0, length) / count
        for r in range(1, count):
            total.add_(x.narrow(axis, r, length), alpha=1 / count)
        x = total
    return x


def _padding(layer: Any) -> list[int]:
    """Padding as `torch.nn.functional.pad` wants it: (before, after), last axis first."""
    dims = len(layer.kernel_size)
    if layer.padding == "valid":
        return [0] * 2 * dims
    if layer.padding == "same":
        total = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        return [part for t in reversed(total) for part in (t // 2, t - t // 2)]
    return [p for p in reversed(layer.padding) for _ in range(2)]


def _padded(layer: Any, x: Tensor) -> Tensor:
    padding, mode = _padding(layer), "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, padding, mode=mode) if any(padding) else x


def _conv(layer: Any, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    geometry = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    weight = conv_factor(_padded(layer, x), delta, layer.kernel_size, **geometry)
    return {"weight": weight, **_bias(layer, delta)}


def _per_axis(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


def folds(layer: nn.Module, pool: Pool) -> bool:
    """Whether a layer and the average pool behind it are one strided convolution of a box-filtered input."""
    pools: dict[type, type] = {nn.Conv1d: nn.AvgPool1d, nn.Conv2d: nn.AvgPool2d, nn.Conv3d: nn.AvgPool3d}
    return (
        isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        and pools.get(type(layer)) is type(pool)
        and set(layer.stride) == {1}
        and set(_per_axis(pool.padding, 1)) == {0}
        and not pool.ceil_mode
        and getattr(pool, "divisor_override", None) is None
    )


def conv_pool(layer: Any, pool: Pool, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    """Rule of a convolution and the average pool behind it, ``delta`` at the output of the pool.

    Both are linear, and a pool of 4 x 4 leaves 16 times fewer positions to multiply.
    """
    dims = len(layer.kernel_size)
    box = box_means(_padded(layer, x), _per_axis(pool.kernel_size, dims))
    stride = _per_axis(pool.stride, dims)
    geometry = {"stride": stride, "dilation": layer.dilation, "groups": layer.groups}
    return {"weight": conv_factor(box, delta, layer.kernel_size, **geometry), **_bias(layer, delta)}


def _bias(layer: Any, delta: Tensor) -> dict[str, Factor]:
    """Channels are axis 1 of the layer's output; what follows them is summed."""
    return {} if layer.bias is None else {"bias": delta.reshape(*delta.shape[:3], -1).sum(3)}


def _conv_transpose(layer: Any, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    # The adjoint of a convolution: the windows are those of the output's gradient. An output padding can
    # leave positions that no input reaches.
    geometry = (layer.kernel_size, layer.stride, layer.dilation)
    padding = [p for p in reversed(layer.padding) for _ in range(2)]
    gradient = crop(F.pad(delta, padding), x.shape[2:], *geometry)
    return {"weight": Correlation(gradient, x.unsqueeze(1), *geometry, layer.groups), **_bias(layer, delta)}


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
    return {"weight": product.reshape(*product.shape[:3], -1).sum(3)} | _bias(layer, delta)


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
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.ConvTranspose1d: _conv_transpose,
    nn.ConvTranspose2d: _conv_transpose,
    nn.ConvTranspose3d: _conv_transpose,
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
    """The closed rule of a layer, or None when only `per_sample_vjp` can serve it."""
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
