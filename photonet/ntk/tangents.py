"""One forward pass, recorded, and the factored Jacobian of its outputs.

Forward hooks note what enters and leaves each layer that owns a selected parameter; one backward pass per
output direction gives the gradients at the layers' outputs; the rules of `photonet.ntk.layers` turn both
into factors. The gradient of the parameters themselves is never formed unless that is the cheaper way.
"""

from __future__ import annotations

import functools
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ..errors import InvalidArgument
from .directions import output_directions
from .factors import Factor, full_product, merge, trace_product
from .layers import per_sample_vjp, rule_for
from .parameters import Selection, batch, independent_samples, select

__all__ = ["Tangents", "tangents"]

log = logging.getLogger("photonet.ntk")
_told: WeakSet[nn.Module] = WeakSet()  # models whose slow road was already reported


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

    def gram(self, other: Tangents | None = None, *, full: bool = False) -> Tensor:
        """Kernel with another batch (or with itself), summed over directions or for all pairs of them.

        Returns:
            [n, n2], or [n, n2, m, m2] when ``full``.
        """
        other = self if other is None else other
        product = full_product if full else trace_product
        shared = [name for name in self.factors if name in other.factors]
        if not shared:  # no output depends on any of the parameters
            m = self.directions
            shape = (len(self.outputs), len(other.outputs), *((m, m) if full else ()))
            return self.outputs.new_zeros(shape)
        parts = [product(self.factors[name], other.factors[name]) for name in shared]
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
    batch("x", x)
    chosen = select(model, params)
    independent_samples(model)
    keep_graph = torch.is_grad_enabled()
    calls: list[_Call] = []
    with torch.enable_grad():
        if method == "jacobian":
            result, strays = model(x), set(chosen)
        else:
            result, calls = _record(model, x, chosen)
            strays = _strays(result, calls, chosen, len(x))
            if strays:
                _report(model, strays, refuse=method == "structured")
        v = output_directions(outputs, _checked(result, len(x)), generator, directions)
        found, rules = _layer_factors(result, v, calls, strays, keep_graph)
        if strays:
            # every sample looks along the same directions
            rows = v.reshape(1, len(v), *result.shape[1:]).expand(len(x), -1, *result.shape[1:])
            slow = per_sample_vjp(model, {name: chosen[name] for name in chosen if name in strays}, x, rows)
            found |= slow
            rules |= dict.fromkeys(slow, "network")
    if not keep_graph:
        result, found = result.detach(), {name: _detach(factor) for name, factor in found.items()}
    return Tangents(result, found, rules, len(v))


def _checked(result: Any, n: int) -> Tensor:
    if not isinstance(result, Tensor) or result.ndim == 0 or len(result) != n:
        got = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise InvalidArgument("model", f"one tensor [{n}, ...] as its output", got)
    return result


def _detach(factor: Factor) -> Factor:
    if isinstance(factor, Tensor):
        return factor.detach()
    values = {f.name: getattr(factor, f.name) for f in fields(factor)}
    return type(factor)(**{k: v.detach() if isinstance(v, Tensor) else v for k, v in values.items()})


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


# --- the forward pass, recorded -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One call of a layer that owns selected parameters."""

    layer: nn.Module
    own: Mapping[str, str]  # the layer's name of each parameter -> the model's name
    x: Tensor | None  # None when the call is not one tensor in, one tensor out
    version: int
    sources: tuple[GradientEdge, ...]
    target: GradientEdge | None
    shape: torch.Size


def _record(model: nn.Module, x: Tensor, chosen: Mapping[str, nn.Parameter]) -> tuple[Any, list[_Call]]:
    names = {id(p): name for name, p in chosen.items()}
    calls: list[_Call] = []

    def note(own: Mapping[str, str], layer: nn.Module, args: tuple, kwargs: dict, out: Any) -> None:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        sources = tuple(get_gradient_edge(a) for a in tensors if a.requires_grad)
        simple = len(args) == 1 and not kwargs and len(tensors) == 1 and isinstance(out, Tensor)
        # The edge, not the tensor: an in-place activation after the layer would replace its gradient.
        target = get_gradient_edge(out) if isinstance(out, Tensor) and out.requires_grad else None
        entry = tensors[0] if simple else None
        calls.append(
            _Call(
                layer,
                own,
                entry,
                0 if entry is None else entry._version,
                sources,
                target,
                out.shape if simple else torch.Size(),
            )
        )

    handles = []
    for layer in model.modules():
        own = {local: names[id(p)] for local, p in layer._parameters.items() if id(p) in names}
        if own:
            handles.append(layer.register_forward_hook(functools.partial(note, own), with_kwargs=True))
    try:
        result = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return result, calls


def _strays(result: Tensor, calls: list[_Call], chosen: Mapping[str, nn.Parameter], n: int) -> set[str]:
    """Names of the parameters that act outside the recorded calls, or in calls no rule can read.

    The autograd graph is walked once from the outputs: within a call only the layer's own parameters may
    be met, and outside of all calls none (a tied weight used through torch.nn.functional, for instance).
    """
    names = {id(p): name for name, p in chosen.items()}
    strays = {
        name
        for call in calls
        for name in call.own.values()
        if call.x is None or len(call.x) != n or call.shape[:1] != (n,)
    }
    at: dict[tuple[Any, int], list[_Call]] = defaultdict(list)  # inner calls end before outer ones
    for call in calls:
        if call.target is not None:
            at[call.target.node, call.target.output_nr].append(call)

    start = get_gradient_edge(result)
    todo: list[tuple[Any, int, _Call | None]] = [(start.node, start.output_nr, None)]
    seen: set[tuple[Any, int, int]] = set()
    while todo:
        node, number, owner = todo.pop()
        if node is None or (node, number, id(owner)) in seen:
            continue
        seen.add((node, number, id(owner)))
        if owner is not None and any(node is s.node and number == s.output_nr for s in owner.sources):
            continue
        ending = at.get((node, number), [])
        inner = ending[: ending.index(owner)] if owner in ending else ending
        if inner:
            todo.append((node, number, inner[-1]))
            todo.extend((s.node, s.output_nr, owner) for s in inner[-1].sources)
            continue
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) in names:
            name = names[id(leaf)]
            if owner is None or name not in owner.own.values():
                strays.add(name)
        todo.extend((after, index, owner) for after, index in node.next_functions)
    return strays


# --- the backward pass, and the rules -------------------------------------------------------------------


def _layer_factors(
    result: Tensor, v: Tensor, calls: list[_Call], strays: set[str], keep_graph: bool
) -> tuple[dict[str, Factor], dict[str, str]]:
    usable = [c for c in calls if c.target is not None and any(name not in strays for name in c.own.values())]
    if not usable:
        return {}, {}
    gradients = [
        torch.autograd.grad(
            result,
            [call.target for call in usable if call.target is not None],
            row.reshape(1, *result.shape[1:]).expand_as(result),
            create_graph=keep_graph,
            retain_graph=True,
            allow_unused=True,
        )
        for row in v
    ]
    uses: dict[str, list[Factor]] = defaultdict(list)
    rules: dict[str, str] = {}
    for call, *deltas in zip(usable, *gradients, strict=True):
        if call.x is None or deltas[0] is None:
            continue
        if call.x._version != call.version:
            raise InvalidArgument(
                "model",
                "layers whose input stays as it was",
                f"a {type(call.layer).__name__} whose input was changed in place after the call",
            )
        delta = deltas[0].unsqueeze(1) if len(deltas) == 1 else torch.stack(deltas, dim=1)
        rule = rule_for(call.layer)
        wanted = {local: name for local, name in call.own.items() if name not in strays}
        if rule is None:
            own = {local: call.layer.get_parameter(local) for local in wanted}
            factors: Mapping[str, Factor] = per_sample_vjp(call.layer, own, call.x, delta)
        else:
            factors = rule(call.layer, call.x, delta)
        for local, name in wanted.items():
            uses[name].append(factors[local])
            rules[name] = "vjp" if rule is None else type(call.layer).__name__
    return {name: merge(factors) for name, factors in uses.items()}, rules
