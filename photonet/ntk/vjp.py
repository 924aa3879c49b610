"""Per-sample gradients of layers without a rule, by `torch.func`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import InvalidArgument

__all__ = ["per_sample_vjp"]

log = logging.getLogger("photonet.ntk")
_told: WeakSet[nn.Module] = WeakSet()  # layers whose samples were reported to go one by one


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
