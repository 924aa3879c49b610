"""A study's file: whole after every batch, and continued only by the study that wrote it.

Behind the netCDF-4 file stands a seal, 8 bytes of magic and the SHA-256 of all before it. It is checked
before the HDF5 library sees a byte: a flipped bit is else a wrong number that nobody sees, or a crash. (The
seal of measured data stands in front, where xarray does not find netCDF behind it.)
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..files import atomic_path
from .yields import of_role

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["clear_left_behind", "read_metrics", "write"]

MAGIC = b"PHOTONST"
SEAL_BYTES = len(MAGIC) + hashlib.sha256().digest_size


LEFT_BEHIND = 3600.0
"""Seconds after which a temporary file is nobody's any more: a writing takes some 30 ms."""


def clear_left_behind(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` left beside it (see `atomic_path`)."""
    for file in path.parent.glob(glob.escape(f".{path.stem[:32]}-") + "?" * 8 + glob.escape(path.suffix)):
        with contextlib.suppress(OSError):  # another process was faster, or it is another user's
            if time.time() - file.stat().st_mtime > LEFT_BEHIND:
                file.unlink()


def write(table: xr.Dataset, path: Path) -> None:
    """Write the study to ``path`` (netCDF-4, sealed); the file is the old or the new one at any moment."""
    with atomic_path(path) as temporary:
        table.to_netcdf(temporary, engine="h5netcdf")
        seal = _seal(temporary.read_bytes())
        with open(temporary, "ab") as file:
            file.write(seal)


def _seal(content: bytes) -> bytes:
    return MAGIC + hashlib.sha256(content).digest()


def _sealed_content(path: Path, advice: str) -> bytes:
    """The file without its seal, if that is right.

    Raises:
        DataError: it cannot be opened, has no seal, or does not match it.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise DataError(f"out: cannot read {path} ({error.strerror}); {advice}") from None
    content, seal = whole[:-SEAL_BYTES], whole[-SEAL_BYTES:]
    if seal[: len(MAGIC)] != MAGIC:
        what = "is no study, was cut off or changed since, or is of an earlier photonet: it has no seal"
        raise DataError(f"out: {path} {what}; {advice}")
    if seal != _seal(content):
        raise DataError(f"out: {path} is damaged: it does not match its checksum; {advice}")
    return content


def read_metrics(path: Path, table: xr.Dataset) -> dict[str, np.ndarray]:
    """Metrics of the devices that ``path`` holds, for the study ``table`` (NaN: not measured yet).

    The draws and seeds in the file are compared as well as its hash: another version of a library may draw
    other numbers from the same seed.

    Args:
        path: file written by `write`.
        table: the study as it is asked for now, with its draws, its seeds and its provenance.

    Returns:
        Each metric [samples], float64.

    Raises:
        DataError: the file is damaged, or holds another study or more devices.
    """
    import xarray as xr

    advice = "pass another out, or resume=False to replace the file"
    content = _sealed_content(path, advice)
    kept = xr.load_dataset(io.BytesIO(content), engine="h5netcdf", decode_times=False)
    asked = table.attrs
    if kept.attrs["config_hash"] != asked["config_hash"]:
        was = kept.attrs["config"]
        raise DataError(
            f"out: {path} holds another study; {advice}\n  there: {was}\n  asked: {asked['config']}"
        )
    done = kept.sizes["device"]
    if done > table.sizes["device"]:
        raise DataError(
            f"out: {path} holds {done} devices, more than samples = {table.sizes['device']}; {advice}"
        )
    first = table.isel(device=slice(done))
    for name in [*of_role(table, "draw"), "seed"]:
        if not np.array_equal(kept[name].values, first[name].values):
            raise DataError(
                f"out: {path} was drawn otherwise ({name} differs; with numpy {kept.attrs.get('numpy')} and "
                f"scipy {kept.attrs.get('scipy')}, now {asked['numpy']} and {asked['scipy']}); {advice}"
            )
    metrics = {}
    for name in of_role(kept, "metric"):
        metrics[name] = np.full(table.sizes["device"], np.nan)
        metrics[name][:done] = kept[name].values
    return metrics
