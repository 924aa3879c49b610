"""What a system or a metric is, in words that are the same in every process.

A study is continued only by the functions that began it. Their names say too little: an object that can be
called is told with what it was made of, a function with what it closes over.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Number
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from ..provenance import module_hash, told

__all__ = ["identity"]

PLAIN = (Number, str, bytes, slice, range, Enum, torch.dtype, torch.Tensor)

SHORT = 200
"""Longer words are hashed at once: what is referred to from many places would else be told ever longer."""


def identity(function: Any) -> tuple[str, list[str]]:
    """Name and hash of a function or another object that can be called, and what of it cannot be told.

    - Functions: their name, their defaults, what they close over and their attributes; lambdas, whose name
      says nothing, also by their code. The code of other functions and classes is not read, nor are globals.
    - Networks: `photonet.provenance.module_hash`, and the settings of parts that are no layers of torch.
    - Generators of random numbers: their seed, as their state changes while they are used.
    - Other objects: what they are pickled by. Names that begin with an underscore and kept properties are
      working state and left out, unless the name is that of an argument of ``__init__``.

    Args:
        function: as it is before anything was run.

    Returns:
        The words, and a list of what has no state that could be compared (open files, locks), by the way
        that leads to it.

    Example:
        >>> def scaled(k):
        ...     return lambda x: k * x
        >>> identity(scaled(1)) == identity(scaled(1)), identity(scaled(1)) == identity(scaled(2))
        (True, False)
    """
    teller = _Teller()
    text = teller.tell(function, "")
    while isinstance(function, functools.partial):
        function = function.func
    return (
        f"{_name(function if hasattr(function, '__qualname__') else type(function))} {_hash(text)}",
        teller.untold,
    )


class _Teller:
    """Tells values, each once; ``untold`` are the ways to those that cannot be."""

    def __init__(self) -> None:
        self.untold: list[str] = []
        self._known: dict[int, tuple[Any, str]] = {}  # with the value, so that no other gets its address

    def tell(self, value: Any, way: str) -> str:
        if id(value) in self._known:
            return self._known[id(value)][1]
        self._known[id(value)] = value, "itself"  # until it is told: what leads back to it ends there
        try:
            text = self._tell(value, way)
        except Exception:  # whatever a class raises that cannot be pickled
            text = f"a {type(value).__qualname__}"
            self.untold.append(f"{way.lstrip('.') or 'it'} ({text})")
        text = text if len(text) < SHORT else _hash(text)
        self._known[id(value)] = value, text
        return text

    def _tell(self, value: Any, way: str) -> str:
        if value is None or isinstance(value, PLAIN):
            return told(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.dtype.isnative:
            return told(value)
        if isinstance(value, (type, ModuleType)):
            return _name(value)
        if type(value) in (list, tuple):
            return self._several(value, way)
        if type(value) in (dict, MappingProxyType):
            return self._named(value, way)
        if isinstance(value, (set, frozenset)):
            return f"{_name(type(value))} {sorted(self.tell(one, way) for one in value)}"
        if isinstance(value, CodeType):
            return f"{value.co_code.hex()} {value.co_names} {self._several(value.co_consts, way)}"
        if isinstance(value, FunctionType):
            return self._function(value, way)
        if isinstance(value, nn.Module):
            return self._network(value, way)
        if isinstance(value, torch.Generator):
            return f"{_name(type(value))} {value.initial_seed()}"
        if isinstance(value, np.random.Generator):
            seeds: Any = value.bit_generator.seed_seq
            kind = type(value.bit_generator)
            return f"{_name(kind)} {self._several([seeds.entropy, seeds.spawn_key], way)}"
        if hasattr(value, "dims") and hasattr(value, "to_dict"):  # of xarray, which keeps all of it private
            return f"{_name(type(value))} {self._named(value.to_dict(data='array'), way)}"
        return self._object(value, way)

    def _several(self, values: Iterable[Any], way: str) -> str:
        return f"[{', '.join(self.tell(one, f'{way}[{i}]') for i, one in enumerate(values))}]"

    def _named(self, values: Mapping[Any, Any], way: str) -> str:
        items = (f"{self.tell(key, way)}: {self.tell(one, f'{way}.{key}')}" for key, one in values.items())
        return f"{{{', '.join(sorted(items))}}}"

    def _function(self, function: FunctionType, way: str) -> str:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        values = {n: cell.cell_contents for n, cell in cells if not n.startswith("_")}
        values |= {n: v for n, v in vars(function).items() if not n.startswith("_")}
        defaults = [function.__defaults__, function.__kwdefaults__]
        code = self.tell(function.__code__, way) if function.__name__ == "<lambda>" else ""
        return f"{_name(function)}({code}) {self._several(defaults, way)} {self._named(values, way)}"

    def _network(self, network: nn.Module, way: str) -> str:
        settings = {}
        for name, part in network.named_modules():
            if not type(part).__module__.startswith("torch."):
                held = _public(vars(part), type(part))
                held.pop("training", None)
                settings[name] = {
                    n: v for n, v in held.items() if not isinstance(v, (torch.Tensor, nn.Module))
                }
        return f"{_name(type(network))} {module_hash(network)} {self._named(settings, way)}"

    def _object(self, value: Any, way: str) -> str:
        registered = copyreg.dispatch_table.get(type(value))
        reduced: Any = value.__reduce_ex__(4) if registered is None else registered(value)
        if isinstance(reduced, str):
            wrapped = self.tell(getattr(value, "__wrapped__", None), way)  # by functools.cache
            return f"{getattr(value, '__module__', '')}.{reduced} {wrapped}"
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if _pickled_by_default(type(value)):
            shared, slots = state if isinstance(state, tuple) else (state, None)
            state = _public({**(shared or {}), **(slots or {})}, type(value))
        parts = [
            self.tell(make, way),
            self._several(arguments, way),
            self._named(state, way) if isinstance(state, dict) else self.tell(state, way),
            self._several(items or (), way),
            self._named(dict(pairs or ()), way),
        ]
        return f"{_name(type(value))}({', '.join(parts)})"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _name(named: Any) -> str:
    """Of a function, class or module; what is run as a script is named as if it were imported."""
    if isinstance(named, ModuleType):
        return named.__name__
    module = getattr(named, "__module__", None) or "builtins"
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec is not None else Path(file).stem if file else module
    return f"{module}.{named.__qualname__}"


def _public(attributes: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The attributes that are settings: not those that are kept results, or private and not passed in."""
    try:
        passed = set(inspect.signature(kind.__init__).parameters)  # type: ignore[misc]
    except (TypeError, ValueError):
        passed = set()
    return {
        name: value
        for name, value in attributes.items()
        if not isinstance(inspect.getattr_static(kind, name, None), functools.cached_property)
        and (not name.startswith("_") or name in passed or name.lstrip("_") in passed)
    }


def _pickled_by_default(kind: type) -> bool:
    own = (kind.__reduce_ex__, kind.__reduce__, kind.__getstate__)
    return own == (object.__reduce_ex__, object.__reduce__, object.__getstate__)
