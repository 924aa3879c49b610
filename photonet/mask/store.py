"""Masks in files: HDF5, versioned, written atomically, with nothing in them that could be executed.

Knows the fields of a mask, not its kinds: `Mask.load` puts them together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, DataMissing
from ..fabrication import Geometry
from ..files import atomic_path
from ..materials import Material, MetaAtomLibrary

__all__ = ["read", "write"]

FORMAT = "photonet-mask"
VERSION = 1
TABLES: dict[str, type[Material] | type[MetaAtomLibrary]] = {
    "material": Material,
    "surround": Material,
    "library": MetaAtomLibrary,
}


def write(path: str | Path, kind: str, members: dict[str, Any]) -> None:
    """Write the fields of a mask: a `Geometry`, tensors, numbers or None, materials, a library."""
    import h5py

    geometry: Geometry = members["geometry"]
    tensors = {f"geometry/{name}": tensor for name, tensor in geometry.tensors().items()}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["kind"] = kind
        file.attrs["shape"] = geometry.shape
        file.attrs["pitch"] = geometry.pitch
        file.attrs["elements"] = geometry.elements
        for name, value in members.items():
            if name in TABLES:
                file.attrs[name] = json.dumps(value.to_dict())
            elif isinstance(value, torch.Tensor):
                tensors[f"mask/{name}"] = value
            elif isinstance(value, float):
                file.attrs[name] = value
        for name, tensor in tensors.items():
            file.create_dataset(name, data=tensor.detach().cpu().resolve_conj().resolve_neg().numpy())


def read(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The kind of a mask and its fields.

    Raises:
        DataMissing: there is no such file.
        DataError: the file is truncated, is no mask, or of another version.
    """
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
        raise DataError(f"{path}: not a whole HDF5 file of a mask: {error}") from None
    if attributes.get("format") != FORMAT:
        raise DataError(f"{path}: an HDF5 file, but not one that Mask.save wrote")
    if attributes["version"] != VERSION:
        raise DataError(
            f"{path}: written in version {attributes['version']} of the format, this photonet reads {VERSION}"
        )
    try:
        dy, dx = (float(d) for d in attributes["pitch"])
        geometry = Geometry(
            shape=tuple(int(n) for n in attributes["shape"]),
            pitch=(dy, dx),
            elements=int(attributes["elements"]),
        )
        members: dict[str, Any] = {"geometry": geometry.with_tensors(arrays.get("geometry", {}))}
        members |= arrays.get("mask", {})
        members |= {n: float(attributes[n]) for n in ("wavelength", "distance") if n in attributes}
        members |= {
            name: table.from_dict(json.loads(attributes[name]))
            for name, table in TABLES.items()
            if name in attributes
        }
        return str(attributes["kind"]), members
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: a damaged mask: {error!r}") from None
