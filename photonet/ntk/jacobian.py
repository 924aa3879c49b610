"""One forward pass, recorded, and the factored Jacobian of its outputs.

Forward hooks note what enters and leaves each layer that owns a selected parameter; backward passes for all
output directions give the gradients at the layers' outputs; the rules of `photonet.ntk.layers` turn both
into factors. The gradient of the parameters themselves is never formed unless that is the cheaper way.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .. import checks
from ..errors import InvalidArgument
from .convolution import conv_pool
from .directions import output_directions
from .elementary import Elementary
from .factors import Factor, full_product, merge, trace_product
from .layers import rule_for
from .parameters import Selection, answers, batch, independent_samples, select
from .record import Call, record
from .vjp import per_sample_vjp

__all__ = ["Tangents", "tangents"]

# Output directions whose gradients have so many elements in all go back in one pass: small networks take half
# the time for it, and large ones do not leave the processor's cache.
TOGETHER = 2**20

log = logging.getLogger("photonet.ntk")
_told: WeakSet[nn.Module] = WeakSet()  # models whose slow road was already reported
_told_kinds: WeakSet[type[nn.Module]] = WeakSet()  # classes of layers without a closed rule that were


@dataclass(frozen=True)
class Tangents:
    """The Jacobian of a batch, one factor per parameter.

    Args:
        outputs: what the model returned, [n, ...], with its autograd graph.
        factors: parameter name -> factor, see `photonet.ntk.factors`.
        rules: parameter name -> how it was found: the layer's class, ``"vjp"`` (torch.func of that layer)
            or ``"network"`` (torch.func of the whole model).
        directions: how many output directions m the factors hold.
    """

    outputs: Tensor
    factors: Mapping[str, Factor]
    rules: Mapping[str, str]
    directions: int

    def gram(
        self,
        other: Tangents | None = None,
        *,
        full: bool = False,
        rates: Mapping[str, float] | None = None,
    ) -> Tensor:
        """Kernel with another batch (or with itself), summed over directions or for all pairs of them.

        Args:
            other: tangents of the same model.
            full: keep all pairs of directions.
            rates: parameter name -> relative learning rate, which multiplies its part of the kernel; 1 for
                parameters that are not named.

        Returns:
            [n, n2], or [n, n2, m, m2] when ``full``.
        """
        other = self if other is None else other
        product = full_product if full else functools.partial(trace_product, known={})
        shared = [name for name in self.factors if name in other.factors]
        if not shared:  # no output depends on any of the parameters
            m = self.directions
            shape = (len(self.outputs), len(other.outputs), *((m, m) if full else ()))
            return self.outputs.new_zeros(shape)
        parts = [product(self.factors[name], other.factors[name]) for name in shared]
        if rates is not None:
            parts = [rates.get(name, 1.0) * part for name, part in zip(shared, parts, strict=True)]
        return functools.reduce(torch.add, parts)


def tangents(
    model: nn.Module,
    x: Tensor,
    *,
    outputs: str | Tensor = "trace",
    params: Selection = None,
    generator: torch.Generator | None = None,
    directions: int = 1,
    method: str = "auto",
) -> Tangents:
    """The factored Jacobian of a batch, and the outputs of the same forward pass.

    Args: as `photonet.ntk.gram`; methods ``"auto"``, ``"structured"`` and ``"jacobian"``.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> tangents(model, torch.ones(4, 3)).gram().shape
        torch.Size([4, 4])
    """
    checks.choice("method", method, ("auto", "structured", "jacobian"))
    batch("x", x)
    independent_samples(model)
    chosen = select(model, params)
    keep_graph = torch.is_grad_enabled()
    calls: list[Call] = []
    with torch.inference_mode(False), torch.enable_grad(), _differentiable(keep_graph):
        x = x.clone() if x.is_inference() else x  # an inference tensor cannot enter a graph
        # nor can what was cut, without gradients, from a tensor that has one
        x = x if keep_graph else x.detach()
        if method == "jacobian":
            result, strays = answers(model, x), set(chosen)
        else:
            result, calls, strays = record(model, x, chosen)
            if strays:
                _report(model, strays, refuse=method == "structured")
        v = output_directions(outputs, result, generator, directions)
        found, rules = _layer_factors(result, v, calls, strays, keep_graph)
        if strays:
            # every sample looks along the same directions
            rows = v.reshape(1, len(v), *result.shape[1:]).expand(len(x), -1, *result.shape[1:])
            slow = per_sample_vjp(model, {name: chosen[name] for name in chosen if name in strays}, x, rows)
            found |= slow
            rules |= dict.fromkeys(slow, "network")
    if not keep_graph:
        result, found = result.detach(), _detach(found)
    return Tangents(result, found, rules, len(v))


@contextlib.contextmanager
def _differentiable(twice: bool) -> Iterator[None]:
    """Second derivatives, where they are wanted: of fast kernels of attention torch has none."""
    if not twice:
        yield
        return
    with sdpa_kernel(SDPBackend.MATH), Elementary():
        yield


def _detach(found: Mapping[str, Factor]) -> dict[str, Factor]:
    """Factors without their graph; those that share a tensor go on sharing it."""
    seen: dict[int, Tensor] = {}

    def cut(value: Any) -> Any:
        return seen.setdefault(id(value), value.detach()) if isinstance(value, Tensor) else value

    def cut_all(factor: Factor) -> Factor:
        if isinstance(factor, Tensor):
            return factor.detach()
        return type(factor)(*(cut(getattr(factor, f.name)) for f in fields(factor)))

    return {name: cut_all(factor) for name, factor in found.items()}


def _report(model: nn.Module, strays: set[str], *, refuse: bool) -> None:
    names = ", ".join(sorted(strays)[:4]) + (", ..." if len(strays) > 4 else "")
    if refuse:
        raise InvalidArgument(
            "method",
            "'auto' or 'jacobian' for this model",
            "'structured'",
            f"{names} are used in ways no layer rule covers",
        )
    if model not in _told:
        _told.add(model)
        log.warning(
            "%s: %s go through torch.func over the whole model, which is slow", type(model).__name__, names
        )


def _layer_factors(
    result: Tensor, v: Tensor, calls: list[Call], strays: set[str], keep_graph: bool
) -> tuple[dict[str, Factor], dict[str, str]]:
    """Factors of all parameters but the strays, and the rule each came from."""
    usable = [c for c in calls if c.x is not None and not strays.issuperset(c.own.values())]
    if not usable or not result.requires_grad:
        return {}, {}
    gradients = _backward(result, usable, v, keep_graph)
    uses: dict[str, list[Factor]] = defaultdict(list)
    rules: dict[str, str] = {}
    for call, delta in zip(usable, gradients, strict=True):
        if delta is None:  # the outputs do not depend on this call
            continue
        wanted = {local: name for local, name in call.own.items() if name not in strays}
        rule, factors = _apply(call, list(wanted), delta)
        for local, name in wanted.items():
            uses[name].append(factors[local])
            rules[name] = rule
    return {name: merge(factors) for name, factors in uses.items()}, rules


def _backward(result: Tensor, calls: list[Call], v: Tensor, keep_graph: bool) -> list[Tensor | None]:
    """Gradients [n, m, ...] of all directions at the ends of the calls; None where there is no path."""
    rows = v.reshape(len(v), 1, *result.shape[1:]).expand(len(v), *result.shape)
    ends = [call.end for call in calls]

    def pull(part: Tensor) -> list[Tensor | None]:
        several = len(part) > 1
        found = torch.autograd.grad(
            result,
            ends,
            part if several else part[0],
            create_graph=keep_graph,
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=several,
        )
        return [None if g is None else g.transpose(0, 1) if several else g.unsqueeze(1) for g in found]

    together = max(1, TOGETHER // sum(call.elements for call in calls))
    try:
        passes = [pull(part) for part in rows.split(together)]
    except RuntimeError:  # a derivative written by hand need not work on several directions at once
        passes = [pull(part) for part in rows.split(1)]
    if len(passes) == 1:
        return passes[0]
    return [None if gs[0] is None else torch.cat(gs, dim=1) for gs in zip(*passes, strict=True)]


def _apply(call: Call, wanted: list[str], delta: Tensor) -> tuple[str, Mapping[str, Factor]]:
    layer, x, kind = call.layer, call.x, type(call.layer).__name__
    if x is None or x._version != call.version:
        raise InvalidArgument(
            "model", "layers whose input stays as it was", f"a {kind} whose input was changed in place later"
        )
    if call.pool is not None:
        return f"{kind} and {type(call.pool).__name__}", conv_pool(layer, call.pool, x, delta)
    rule = rule_for(layer)
    if rule is not None:
        factors = rule(layer, x, delta)
        if factors.keys() >= set(wanted):  # not where a parameter is made of others, as by pruning
            return kind, factors
    if rule is None and type(layer) not in _told_kinds:
        _told_kinds.add(type(layer))
        log.warning("%s has no closed rule and goes through torch.func, which is slower", kind)
    return "vjp", per_sample_vjp(layer, {local: layer.get_parameter(local) for local in wanted}, x, delta)
