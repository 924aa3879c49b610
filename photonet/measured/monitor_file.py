"""Drift monitors in files: sealed HDF5, written atomically. Knows their fields, not what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from ..files import atomic_path
from ..provenance import provenance
from .container import HEADER_BYTES, SealedFile, seal

__all__ = ["read_monitor", "write_monitor"]

FORMAT = "photonet drift monitor 1"

ARRAYS = ("mean", "weight", "bias", "spread")
NUMBERS: dict[str, type] = {
    "noise": float, "noise_spread": float, "rounds": int, "false_alarm": float, "looks": int, "scenes": str,
}  # fmt: skip


def write_monitor(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write the fields of a monitor: its arrays and numbers, and what is harmless and responds by name."""
    import h5py

    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=HEADER_BYTES) as file:
            for name in ARRAYS:
                file[name] = values[name].cpu().numpy()
            for name, value in values["responses"].items():
                file[f"responses/{name}"] = value.cpu().numpy()
            for name, limit in values["harmless"].items():
                file.attrs[f"harmless/{name}"] = limit
            for name in NUMBERS:
                file.attrs[name] = values[name]
            file.attrs.update(provenance(format=FORMAT))
        seal(temporary)


def read_monitor(path: str | Path) -> dict[str, Any]:
    """The fields of a monitor.

    Raises:
        DataMissing: there is no such file.
        DataError: the file is damaged, or holds something else.
    """
    import h5py

    with SealedFile(path) as sealed:
        try:
            with h5py.File(sealed, "r") as file:
                if file.attrs.get("format") != FORMAT:
                    raise DataError(f"{path}: expected a file of the format {FORMAT!r}")
                values: dict[str, Any] = {name: torch.from_numpy(file[name][()]) for name in ARRAYS}
                values["responses"] = {
                    name: torch.from_numpy(value[()]) for name, value in file.get("responses", {}).items()
                }
                values["harmless"] = {
                    name.removeprefix("harmless/"): float(limit)
                    for name, limit in file.attrs.items()
                    if name.startswith("harmless/")
                }
                return values | {name: kind(file.attrs[name]) for name, kind in NUMBERS.items()}
        except DataError:
            raise
        except Exception as error:  # of whatever type h5py raises
            raise DataError(f"{path}: {sealed.damage or f'not readable as a monitor: {error}'}") from None
