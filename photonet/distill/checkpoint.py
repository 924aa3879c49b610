"""The state of a run between two epochs: one safetensors file, replaced atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import DataError
from ..files import atomic_path

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    cycle: torch.optim.lr_scheduler.LRScheduler,
    rows: list[dict[str, float]],
    run_hash: str,
) -> None:
    """Write weights, optimiser, learning-rate cycle and history; the file is whole or the old one."""
    from safetensors.torch import save_file

    state = optimizer.state_dict()
    tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer/{index}/{k}": v for k, v in values.items()}
    plain = {
        "run": run_hash,
        "rows": rows,
        "groups": state["param_groups"],
        "cycle": _plain(cycle.state_dict()),
    }
    with atomic_path(path) as temporary:
        # copies, as tied weights share memory, which the format refuses; they are tied again when read
        own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        save_file(own, temporary, {"photonet": json.dumps(plain)})


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    cycle: torch.optim.lr_scheduler.LRScheduler,
    run_hash: str,
) -> list[dict[str, float]]:
    """Restore what `save_checkpoint` wrote and return the history so far.

    Raises:
        DataError: the file is damaged or belongs to another run.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as f:
            plain = json.loads((f.metadata() or {})["photonet"])
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a readable checkpoint ({error}); delete it to start afresh") from None
    if plain["run"] != run_hash:
        raise DataError(
            f"{path}: checkpoint of another run ({plain['run']}, this is {run_hash}); "
            "choose another out= folder or pass resume=False"
        )
    model.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})
    cycle.load_state_dict(plain["cycle"])
    rows: list[dict[str, float]] = plain["rows"]
    return rows


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if isinstance(v, (int, float, str, bool, list))}
