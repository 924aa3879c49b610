"""Does an HDF5 file have the structure of measured data? Asked of the metadata alone, before any read."""

from __future__ import annotations

from typing import Any

from ..errors import DataError

__all__ = ["FORMAT", "GROUPS", "KINDS", "validate"]

FORMAT = "photonet-measured 1"

GROUPS = ("scenes", "dark", "flat", "psf")
"""What a file can hold; ``scenes`` is always there."""

KINDS = ("frames", "features")

MOST_AXES = 6

Shape = tuple[str, tuple[int, ...]]

COLUMNS: dict[str, Shape] = {
    "exposure": ("f", (1,)),
    "temperature": ("f", (1,)),
    "time": ("f", (1,)),
    "mean": ("f", (1,)),
    "saturated": ("f", (1,)),
}
"""What stands beside the frames of every group: kind of number, and how many axes it can have."""

MORE: dict[str, dict[str, Shape]] = {
    "scenes": {"name": ("S", (1,)), "label": ("i", (1, 3))},
    "dark": {"name": ("S", (1,))},
    "flat": {"name": ("S", (1,))},
    "psf": {"name": ("S", (1,)), "position": ("f", (2,))},
}
"""What can stand there as well."""


def validate(file: Any) -> dict[str, Any]:
    """Check structure, shapes and types of an open HDF5 file against the schema.

    Args:
        file: h5py.File.

    Returns:
        The attributes as Python values.

    Raises:
        DataError: naming the place that is not as the schema has it.
    """
    if _text(file, "format") != FORMAT:
        raise DataError(f"attribute format: expected {FORMAT!r}, got {_text(file, 'format')!r}")
    attributes: dict[str, Any] = {name: _text(file, name) for name in ("kind", "camera", "mask", "notes")}
    if attributes["kind"] not in KINDS:
        raise DataError(f"attribute kind: expected one of {', '.join(KINDS)}, got {attributes['kind']!r}")
    attributes["bits"] = int(file.attrs["bits"])
    attributes["saturation"] = float(file.attrs["saturation"]) if "saturation" in file.attrs else None
    attributes["wavelength"] = file.attrs["wavelength"].tolist() or None
    unknown = sorted(set(file) - set(GROUPS))
    if unknown:
        raise DataError(f"unknown group {unknown[0]!r}")
    if "scenes" not in file:
        raise DataError("there is no group scenes")
    frame = None
    for name in GROUPS:
        if name in file:
            frame = _group(file, name, frame)
    return attributes


def _group(file: Any, name: str, frame: tuple[int, ...] | None) -> tuple[int, ...]:
    """Check one group; returns the shape of its frames."""
    import h5py

    group = file.get(name)
    if not isinstance(group, h5py.Group) or not _is_hard(file, name):
        raise DataError(f"{name}: not a group")
    for key in group:
        if not isinstance(group.get(key), h5py.Dataset) or not _is_hard(group, key):
            raise DataError(f"{name}/{key}: not a data set of this file")
    data = group.get("data")
    if data is None:
        raise DataError(f"{name}/data is missing")
    if not 3 <= data.ndim <= MOST_AXES or 0 in data.shape or data.dtype.kind not in "uf":
        raise DataError(f"{name}/data: expected frames [n, ..., y, x], got {data.dtype} {data.shape}")
    if frame is not None and data.shape[1:] != frame:
        raise DataError(f"{name}/data: frames of {data.shape[1:]}, but the scenes are {frame}")
    n = data.shape[0]
    for column in COLUMNS:
        if column not in group:
            raise DataError(f"{name}/{column} is missing")
    known = COLUMNS | MORE[name]
    if "shown" in group and (name != "scenes" or not _are_pictures(group["shown"], n)):
        raise DataError(f"{name}/shown: expected {n} pictures [n, channel, y, x] beside the scenes")
    for key in set(group) - {"data", "shown"}:
        if key not in known:
            raise DataError(f"{name}/{key}: unknown data set")
        (kind, axes), found = known[key], group[key]
        whole = found.dtype.kind == kind and found.ndim in axes and found.shape[0] == n
        if (
            not whole
            or (kind in "fi" and found.dtype.itemsize != 8)
            or (key == "position" and found.shape[1] != 2)
        ):
            raise DataError(f"{name}/{key}: expected {n} values, got {found.dtype} {found.shape}")
    if any(dataset.external for dataset in group.values()):
        raise DataError(f"{name}: a data set lies in another file")
    return tuple(data.shape[1:])


def _are_pictures(shown: Any, n: int) -> bool:
    known = shown.dtype.kind == "f" or shown.dtype == "uint8"
    return known and shown.ndim == 4 and shown.shape[0] == n and 0 not in shown.shape


def _is_hard(group: Any, key: str) -> bool:
    import h5py

    return isinstance(group.get(key, getlink=True), h5py.HardLink)


def _text(file: Any, name: str) -> str:
    if name not in file.attrs:
        raise DataError(f"attribute {name} is missing")
    value = file.attrs[name]
    if not isinstance(value, bytes):
        raise DataError(f"attribute {name}: expected a text, got {type(value).__name__}")
    return value.decode()
