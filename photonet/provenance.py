"""Where a result came from: versions and hashes that go into the attributes of every result file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch

__all__ = ["config_hash", "provenance", "state_hash", "tensor_hash"]


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


def state_hash(state: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> str:
    """Hash of named tensors such as a ``state_dict``."""
    items = sorted(dict(state).items())
    return hashlib.sha256("".join(f"{k}:{tensor_hash(v)};" for k, v in items).encode()).hexdigest()[:12]


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
