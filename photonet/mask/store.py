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
    own = {name: getattr(mask, name) for name in TENSORS if hasattr(mask, name)}
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
        for group, tensors in (("geometry", geometry.tensors()), ("mask", own)):
            for name, tensor in tensors.items():
                file.create_dataset(f"{group}/{name}", data=tensor.detach().cpu().numpy())


def load(path: str | Path) -> Mask:
    """Read a mask. See `Mask.load`."""
    import h5py

    if not Path(path).is_file():
        raise DataMissing(f"{path}: there is no such file; write one with Mask.save")
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            arrays = {
                group: {name: torch.from_numpy(data[()]) for name, data in members.items()}
                for group, members in file.items()
            }
    except (OSError, KeyError, TypeError, AttributeError) as error:
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


def _rebuilt(attributes: dict[str, Any], arrays: dict[str, dict[str, torch.Tensor]]) -> Mask:
    dy, dx = (float(d) for d in attributes["pitch"])
    geometry = Geometry(
        shape=tuple(int(n) for n in attributes["shape"]),
        pitch=(dy, dx),
        elements=int(attributes["elements"]),
    ).with_tensors(arrays.get("geometry", {}))
    fields: dict[str, Any] = {
        name: float(attributes[name]) for name in ("wavelength", "distance") if name in attributes
    }
    fields |= arrays.get("mask", {})
    fields |= {
        name: table.from_dict(json.loads(attributes[name]))
        for name, table in TABLES.items()
        if name in attributes
    }
    return KINDS[attributes["kind"]](geometry=geometry, **fields)
