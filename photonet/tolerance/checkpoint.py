"""A study's file: whole after every batch, and continued only by the study that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..files import atomic_path
from .yields import of_role

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["read_metrics", "write"]


def write(table: xr.Dataset, path: Path) -> None:
    """Write the study to ``path`` (netCDF-4); the file is the old one or the new one at any moment."""
    with atomic_path(path) as temporary:
        table.to_netcdf(temporary, engine="h5netcdf")


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
    try:
        kept = xr.load_dataset(path, engine="h5netcdf", decode_times=False)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"out: cannot read {path} as a study ({error}); {advice}") from error
    asked = table.attrs
    if kept.attrs.get("config_hash") != asked["config_hash"]:
        was = kept.attrs.get("config", "no study at all")
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
