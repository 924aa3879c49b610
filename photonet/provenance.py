"""Where a result came from: versions and hashes that go into the attributes of every result file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from enum import Enum
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["config_hash", "module_hash", "provenance", "tensor_hash", "told"]


MADE_OF = ("_orig", "_g")
"""Ends of the parameters that torch's hooks (pruning, spectral and weight norm) make a weight of."""


def tensor_hash(*tensors: torch.Tensor | None) -> str:
    """Twelve hexadecimal digits of the SHA-256 over shapes, types and values.

    Example:
        >>> tensor_hash(torch.zeros(3)) == tensor_hash(torch.zeros(4))
        False
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            digest.update(b"none")
            continue
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:12]


def module_hash(module: nn.Module) -> str:
    """Hash of a module: of its weights and buffers, and of what it makes of them.

    That is the name, class and settings of every part, and which names share one tensor. Settings are what
    ``extra_repr`` tells and the public attributes: numbers, words, tensors, arrays, functions by their name
    and what they are partial to, other objects by their class. Attributes that start with an underscore are
    taken for working state, and neither the mode (training or evaluation) nor the device counts. Of networks
    that were traced, scripted or exported the program is told; the code of other classes is not read.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> module_hash(nn.Sequential(layer, nn.ReLU())) == module_hash(nn.Sequential(layer, nn.Tanh()))
        False
    """
    lines = []
    for name, part in module.named_modules(remove_duplicate=False):
        # weight, where a hook makes it of weight_orig or weight_g
        own = [n for n, _ in part.named_parameters(recurse=False, remove_duplicate=False)]
        made = {n.removesuffix(end) for n in own for end in MADE_OF if n.endswith(end)}
        hooked = made if part._forward_pre_hooks else set()
        attributes, code = _of_script(part) if isinstance(part, torch.jit.ScriptModule) else _of_python(part)
        settings = {
            k: v
            for k, v in attributes.items()
            if not k.startswith("_") and k != "training" and not (k in hooked and isinstance(v, torch.Tensor))
        }
        lines.append(f"{name}: {type(part).__qualname__}({_without_addresses(part.extra_repr())})")
        lines.append(told(settings))
        lines.append(_without_addresses(code))
    tensors = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    first: dict[int, str] = {}
    for name, tensor in tensors:
        if (shared := first.setdefault(id(tensor), name)) != name:
            lines.append(f"{name} is {shared}")
        else:
            lines.append(f"{name} {tensor_hash(tensor)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _of_python(part: nn.Module) -> tuple[dict[str, Any], str]:
    """Attributes of a module, and its program if it was exported."""
    attributes = dict(vars(part))
    if isinstance(part, torch.fx.GraphModule):
        attributes.pop("meta", None)  # it counts what was compiled before in this process
    return attributes, str(getattr(part, "code", ""))


def _of_script(part: torch.jit.ScriptModule) -> tuple[dict[str, Any], str]:
    """Attributes and program of a traced or scripted module, where Python sees neither as its own."""
    kind: Any = torch._C.ConcreteModuleType.from_jit_type(part._c._type())
    code, constants = part._c.code_with_constants  # of all methods; those of a trace are its settings
    # names of classes count how many were made before in this process
    code = re.sub(r"___torch_mangle_\d+\.", "", code)
    return {name: getattr(part, name) for name in kind.get_attributes()}, f"{code} {told(constants)}"


def told(value: Any) -> str:
    """A setting in words that are the same in every process.

    Example:
        >>> told({"k": 3, "act": torch.relu}) == told({"act": torch.relu, "k": 3}), told((1, "a"))
        (True, "[1, 'a']")
    """
    if isinstance(value, torch.Tensor):
        return tensor_hash(value)
    if value is None or isinstance(value, (Number, str, bytes, torch.dtype)):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{told(key)}: {told(v)}' for key, v in value.items()))}}}"
    if hasattr(value, "dims") and isinstance(getattr(value, "values", None), np.ndarray):
        return f"{value.dims} {told(value.values)}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return f"{value.dtype} {tensor_hash(torch.from_numpy(np.array(value, order='C')))}"
    if isinstance(value, functools.partial):
        return f"partial({told([value.func, value.args, value.keywords])})"
    if isinstance(value, (slice, range, Enum)):
        return repr(value)
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(told, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(told(v) for v in value)}]"
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{name}{told({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})}"
    return str(name)


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash of plain settings, independent of their order.

    Example:
        >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:12]


def provenance(**more: Any) -> dict[str, Any]:
    """Attributes for a result: package and torch version, and whatever is added (seed, hashes...)."""
    from . import __version__

    return {"photonet": __version__, "torch": str(torch.__version__), **more}
