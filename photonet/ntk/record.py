"""A forward pass, noted down: which layer saw what, and which parameters acted outside of any layer."""

from __future__ import annotations

import copy
import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ..errors import InvalidArgument
from .convolution import AVERAGE_POOLS, Pool, folds
from .parameters import answers

__all__ = ["Call", "record"]

Key = tuple[Any, int]

_probed: WeakKeyDictionary[nn.Module, dict[torch.Size, WeakSet[nn.Module]]] = WeakKeyDictionary()
"""Of models, for each size of their samples: layers without the samples first, or by accident only."""


@dataclass(eq=False)
class Call:
    """One call of a layer that owns selected parameters.

    Args:
        layer: the layer.
        own: the layer's name of each selected parameter -> the model's name.
        x: its input; None when the call is not one tensor in and one tensor out, sample by sample.
        version: of ``x``, to notice a change in place.
        sources: where its inputs come from in the autograd graph.
        target: where its output sits there. The edge and not the tensor, because an activation that works
            in place would put its own gradient in the place of the layer's.
        elements: of its output, or of that of the pool.
        pool: the average pool that alone reads the output, and is taken as part of the layer.
    """

    layer: nn.Module
    own: Mapping[str, str]
    x: Tensor | None
    version: int
    sources: tuple[GradientEdge, ...]
    target: GradientEdge
    elements: int
    pool: Pool | None = None
    pooled: GradientEdge | None = None

    @property
    def end(self) -> GradientEdge:
        """Where the gradient is wanted."""
        return self.target if self.pooled is None else self.pooled


def _key(edge: GradientEdge) -> Key:
    return edge.node, edge.output_nr


def record(
    model: nn.Module, x: Tensor, chosen: Mapping[str, nn.Parameter]
) -> tuple[Tensor, list[Call], set[str]]:
    """Run the model once.

    Args:
        model: any module.
        x: [n, ...].
        chosen: the parameters that matter.

    Returns:
        the model's output, the calls of layers that own some of ``chosen``, and the names of the parameters
        that these calls do not account for.
    """
    names = {id(p): name for name, p in chosen.items()}
    calls: list[Call] = []
    pools: list[tuple[Key, Pool, GradientEdge, int]] = []
    strays: set[str] = set()

    def note_call(own: Mapping[str, str], layer: nn.Module, args: tuple, kwargs: dict, out: Any) -> None:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        alone = len(args) == len(tensors) == 1 and not kwargs
        if not isinstance(out, Tensor) or not out.requires_grad:
            strays.update(own.values())
            return
        per_sample = alone and tensors[0].shape[:1] == out.shape[:1] == x.shape[:1]
        if not per_sample:
            strays.update(own.values())
        sources = tuple(get_gradient_edge(a) for a in tensors if a.requires_grad)
        entry = tensors[0] if per_sample else None
        version = 0 if entry is None else entry._version
        calls.append(Call(layer, own, entry, version, sources, get_gradient_edge(out), out.numel()))

    def note_pool(layer: Pool, args: tuple, out: Tensor) -> None:
        if args and args[0].requires_grad and out.requires_grad:
            pools.append((_key(get_gradient_edge(args[0])), layer, get_gradient_edge(out), out.numel()))

    # before the real pass, so that what looks on sees that one last
    elsewhere: Collection[nn.Module] = _elsewhere(model, x) if len(x) > 1 else ()
    handles = []
    for layer in model.modules():
        # of two local names of one parameter the first
        own = {names[id(p)]: local for local, p in reversed(layer._parameters.items()) if id(p) in names}
        own = {local: name for name, local in own.items()}
        if own:
            note = functools.partial(note_call, own)
            # before the hooks of others: a rule is for what the layer itself gives
            handles.append(layer.register_forward_hook(note, with_kwargs=True, prepend=True))
        elif isinstance(layer, AVERAGE_POOLS):
            handles.append(layer.register_forward_hook(note_pool, prepend=True))
    try:
        result = answers(model, x)
    finally:
        for handle in handles:
            handle.remove()
    for call in calls:  # another axis, or a constant as long, may have been taken for the samples
        if call.x is not None and call.layer in elsewhere:
            call.x = None
            strays.update(call.own.values())
    if result.requires_grad:
        outside, readers, reached = _walk(result, calls, names)
        strays |= outside
        for key, pool, end, elements in pools:
            if _key(end) not in reached:  # what it gives is used for nothing, so another is the reader
                continue
            for call in calls:
                if _key(call.target) == key and readers[key] == 1 and folds(call.layer, pool):
                    call.pool, call.pooled, call.elements = pool, end, elements
    return result, calls, strays


def _elsewhere(model: nn.Module, x: Tensor) -> WeakSet[nn.Module]:
    """Layers whose output does not have the samples first: that of one sample tells, once for each size."""
    known, size = _probed.setdefault(model, {}), x.shape[1:]
    if size in known:
        return known[size]
    found: WeakSet[nn.Module] = WeakSet()

    def note(own: nn.Module, layer: nn.Module, args: tuple, out: Any) -> None:
        if isinstance(out, Tensor) and out.shape[:1] != (1,):
            found.add(own)

    devices, handles = [x.device] if x.is_cuda else [], []
    try:
        alone = copy.deepcopy(model)  # so that noise and statistics of the model do not move on
        for own, layer in zip(model.modules(), alone.modules(), strict=True):
            handles.append(layer.register_forward_hook(functools.partial(note, own), prepend=True))
        with torch.no_grad(), torch.random.fork_rng(devices):
            answers(alone, x[:1])
    except (InvalidArgument, RuntimeError, TypeError):  # no single sample, or no copy of it: it is believed
        found.clear()
    finally:
        for handle in handles:  # a copy can share layers with the model
            handle.remove()
    known[size] = found
    return found


def _walk(
    result: Tensor, calls: list[Call], names: Mapping[int, str]
) -> tuple[set[str], Counter[Key], set[Key]]:
    """Parameters met where they do not belong, how many operations read each recorded output, and all places.

    The autograd graph is walked once from the outputs: within a call only the layer's own parameters may
    be met, and outside of all calls none (a tied weight used through torch.nn.functional, for instance).
    """
    strays: set[str] = set()
    readers: Counter[Key] = Counter()
    at: dict[Key, list[Call]] = defaultdict(list)  # inner calls end before outer ones
    for call in calls:
        at[_key(call.target)].append(call)

    todo: list[tuple[Key, Call | None]] = [(_key(get_gradient_edge(result)), None)]
    seen: set[tuple[Any, int, int]] = set()
    while todo:
        (node, number), owner = todo.pop()
        if node is None:
            continue
        if (node, number) in at:
            readers[node, number] += 1
        if (node, number, id(owner)) in seen:
            continue
        seen.add((node, number, id(owner)))
        if owner is not None and any((node, number) == _key(source) for source in owner.sources):
            continue
        ending = at.get((node, number), [])
        inner = ending[: ending.index(owner)] if owner in ending else ending
        if inner:
            todo.append(((node, number), inner[-1]))
            readers[node, number] -= 1  # entering the call is not reading its output
            todo.extend((_key(source), owner) for source in inner[-1].sources)
            continue
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) in names:
            name = names[id(leaf)]
            if owner is None or name not in owner.own.values():
                strays.add(name)
        todo.extend(((after, index), owner) for after, index in node.next_functions)
    return strays, readers, {(node, number) for node, number, _ in seen}
