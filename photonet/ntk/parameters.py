"""Which parameters a kernel is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import checks
from ..errors import InvalidArgument

__all__ = ["Selection", "frozen_statistics", "independent_samples", "select"]

Selection = str | Callable[[str], bool] | Iterable[Tensor] | None


def select(model: nn.Module, params: Selection = None) -> dict[str, nn.Parameter]:
    """The parameters of ``model`` that a kernel is taken over.

    Args:
        model: any module.
        params: None for all that are trained; a name or the prefix of names (``"backend"``); a predicate
            on names; or the parameters themselves.

    Returns:
        name -> parameter, each parameter once.

    Raises:
        InvalidArgument: nothing matches, a parameter is not of this model, is frozen, or is not real.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> list(select(model, "2"))
        ['2.weight', '2.bias']
    """
    named = dict(model.named_parameters())
    if params is None:
        chosen = {name: p for name, p in named.items() if p.requires_grad}
        if not chosen:
            raise InvalidArgument(
                "model", "at least one trainable parameter", "none", "thaw what the kernel should be over"
            )
    elif isinstance(params, str):
        chosen = {name: p for name, p in named.items() if name == params or name.startswith(params + ".")}
        if not chosen:
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in named))
            raise InvalidArgument("params", f"a prefix of parameter names ({known})", repr(params))
    elif callable(params):
        chosen = {name: p for name, p in named.items() if params(name)}
    elif not isinstance(params, Iterable):
        raise InvalidArgument("params", "a name, a predicate or parameters", type(params).__name__)
    else:
        wanted = {id(p) for p in params}
        chosen = {name: p for name, p in named.items() if id(p) in wanted}
        if len(chosen) < len(wanted):
            raise InvalidArgument(
                "params", "parameters of this model", f"{len(wanted) - len(chosen)} that it does not own"
            )
    if not chosen:
        raise InvalidArgument("params", "at least one parameter of the model", "none")
    for name, p in chosen.items():
        if not p.requires_grad:
            raise InvalidArgument(
                "params", "trainable parameters", f"{name}, which is frozen", "thaw it or leave it out"
            )
        if p.is_complex():
            raise InvalidArgument(
                "params", "real parameters", f"{name}, which is complex", "store amplitude and phase instead"
            )
    return chosen


def in_python(name: str, model: nn.Module) -> None:
    """Refuse what is no module, and traced and scripted programs, whose layers cannot be told apart."""
    checks.instance(name, model, nn.Module, "a torch module")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        hint = "use the network it was made of, or torch.export"
        raise InvalidArgument(name, "layers in Python, whose tangents are known", "a traced program", hint)


def independent_samples(model: nn.Module) -> None:
    """Refuse models whose samples see each other, because a per-sample gradient does not exist there."""
    in_python("model", model)
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_var is None):
            raise InvalidArgument(
                "model",
                "independent samples",
                f"{name or type(module).__name__}, which normalises over the batch",
                "use photonet.ntk.frozen_statistics(model), and batch normalisation that tracks statistics",
            )


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[nn.Module]:
    """Within the block every batch normalisation uses its running statistics, as it does when deployed.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        >>> with frozen_statistics(model):
        ...     model[1].training
        False
        >>> model[1].training
        True
    """
    training = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    for module in training:
        module.eval()
    try:
        yield model
    finally:
        for module in training:
            module.train()


def batch(name: str, x: object) -> Tensor:
    """``x`` if it is a batch of at least one sample."""
    if not isinstance(x, torch.Tensor) or x.ndim == 0 or len(x) == 0:
        got = f"shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise InvalidArgument(name, "a tensor [n, ...] of at least one sample", got)
    return x


def answers(model: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """What a model says to a batch, if that is one tensor with a row for each sample.

    Raises:
        InvalidArgument: samples that the model does not take, or outputs that are no real tensor [n, ...].
    """
    with checks.reworded("x", "samples that the model takes", f"shape {tuple(x.shape)} of {x.dtype}"):
        result = model(x)
    if not isinstance(result, Tensor) or result.ndim == 0 or len(result) != len(x):
        got = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise InvalidArgument("model", f"one tensor [{len(x)}, ...] as its output", got)
    if not result.is_floating_point():
        raise InvalidArgument("model", "outputs that are real numbers", result.dtype, "torch.view_as_real")
    return result
