"""Masks in files: HDF5, versioned, written atomically, with nothing in them that could be executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, DataMissing
from ..fabrication import Geometry
from ..files import atomic_path
from ..materials import Material, MetaAtomLibrary
from .base import Mask
from .kinds import HeightMask, MetaAtomMask, PhaseMask, TransmissionMask

__all__ = ["load", "save"]

FORMAT = "photonet-mask"
VERSION = 1
KINDS = {kind.__name__: kind for kind in (PhaseMask, HeightMask, TransmissionMask, MetaAtomMask)}
TENSORS = ("base", "values")
TABLES: dict[str, type[Material] | type[MetaAtomLibrary]] = {
    "material": Material,
    "surround": Material,
    "library": MetaAtomLibrary,
}


def save(mask: Mask, path: str | Path) -> None:
    """Write a mask. See `Mask.save`."""
    import h5py

    geometry = mask.geometry
    arrays: dict[str, torch.Tensor | None] = {"height": geometry.height, "width": geometry.width}
    for name in ("shift", "jitter"):
        for axis, tensor in zip("yx", getattr(geometry, name) or (), strict=False):
            arrays[f"{name}_{axis}"] = tensor
    arrays |= {name: getattr(mask, name, None) for name in TENSORS}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["kind"] = type(mask).__name__
        file.attrs["shape"] = geometry.shape
        file.attrs["pitch"] = geometry.pitch
        file.attrs["elements"] = geometry.elements
        for name in ("wavelength", "distance"):
            if getattr(mask, name) is not None:
                file.attrs[name] = getattr(mask, name)
        for name in TABLES:
            if hasattr(mask, name):
                file.attrs[name] = json.dumps(getattr(mask, name).to_dict())
        for name, tensor in arrays.items():
            if tensor is not None:
                file.create_dataset(name, data=tensor.detach().cpu().numpy())


def load(path: str | Path) -> Mask:
    """Read a mask. See `Mask.load`."""
    import h5py

    if not Path(path).is_file():
        raise DataMissing(f"{path}: there is no such file; write one with Mask.save")
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            arrays = {name: torch.from_numpy(data[()]) for name, data in file.items()}
    except (OSError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a whole HDF5 file: {error}") from None
    if attributes.get("format") != FORMAT:
        raise DataError(f"{path}: an HDF5 file, but not one that Mask.save wrote")
    if attributes["version"] != VERSION:
        raise DataError(
            f"{path}: written in version {attributes['version']} of the format, this photonet reads {VERSION}"
        )
    try:
        return _rebuilt(attributes, arrays)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: a damaged mask: {error!r}") from None


def _rebuilt(attributes: dict[str, Any], arrays: dict[str, torch.Tensor]) -> Mask:
    kind = KINDS[attributes["kind"]]
    pitch = tuple(float(d) for d in attributes["pitch"])
    pairs = {
        name: (arrays[f"{name}_y"], arrays[f"{name}_x"])
        for name in ("shift", "jitter")
        if f"{name}_y" in arrays
    }
    geometry = Geometry(
        shape=tuple(int(n) for n in attributes["shape"]),
        pitch=(pitch[0], pitch[1]),
        elements=int(attributes["elements"]),
        height=arrays.get("height"),
        width=arrays.get("width"),
        shift=pairs.get("shift"),
        jitter=pairs.get("jitter"),
    )
    fields: dict[str, Any] = {
        name: float(attributes[name]) for name in ("wavelength", "distance") if name in attributes
    }
    fields |= {name: arrays[name] for name in TENSORS if name in arrays}
    fields |= {
        name: table.from_dict(json.loads(attributes[name]))
        for name, table in TABLES.items()
        if name in attributes
    }
    return kind(geometry=geometry, **fields)
