"""The quickstart's results as labelled arrays and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..distill.log import save_weights
from ..files import atomic_path, write_text
from ..provenance import config_hash, provenance
from .config import QuickstartConfig
from .road import Road

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["collect", "save"]


def collect(
    teacher_accuracy: float,
    roads: list[Road],
    rates: dict[str, float],
    data_hash: str,
    config: QuickstartConfig,
) -> xr.Dataset:
    """Table and training curves of all seeds.

    Returns:
        Dataset with ``accuracy`` [row, seed], the curves [student, seed, epoch], the chosen learning rates
        [student], what each correction kept [way, seed], and provenance in the attributes.
    """
    import xarray as xr

    seeds = [road.seed for road in roads]
    rows = ["teacher", *roads[0].accuracy]
    table = [[teacher_accuracy] * len(roads), *([road.accuracy[row] for road in roads] for row in rows[1:])]
    methods, ways = list(roads[0].histories), list(roads[0].kept)
    # a method's history has the loss terms it uses; the others are NaN
    epochs = len(roads[0].histories[methods[0]]["epoch"])
    empty = np.full(epochs, np.nan)
    names = sorted({str(name) for m in methods for name in roads[0].histories[m]})
    curves = {
        name: (
            ("student", "seed", "epoch"),
            [[np.asarray(road.histories[m].get(name, empty)) for road in roads] for m in methods],
        )
        for name in names
    }
    return xr.Dataset(
        {
            "accuracy": (("row", "seed"), np.array(table), {"long_name": "test accuracy", "units": "1"}),
            "learning_rate": ("student", [rates[m] for m in methods]),
            "kept": (("way", "seed"), np.array([[road.kept[w] for road in roads] for w in ways], dtype=str)),
            **curves,
        },
        coords={
            "row": rows,
            "seed": seeds,
            "student": methods,
            "way": ways,
            "epoch": np.arange(1, epochs + 1),
        },
        attrs=provenance(
            config=json.dumps(config.as_dict()),
            config_hash=config_hash(config.as_dict()),
            data_hash=data_hash,
        ),
    )


def save(
    folder: Path, results: xr.Dataset, devices: xr.Dataset, roads: list[Road], config: QuickstartConfig
) -> None:
    """Write results, study, settings, weights and masks; each file is whole or not there."""
    write_text(folder / "config.json", json.dumps(config.as_dict(), indent=2) + "\n")
    for name, dataset in {"results.nc": results, "tolerance.nc": devices}.items():
        with atomic_path(folder / name) as temporary:
            dataset.to_netcdf(temporary, engine="h5netcdf")
    for road in roads:
        for name, network in {"student": road.student, "corrected": road.corrected}.items():
            save_weights(network, folder / "weights" / f"{name}-seed{road.seed}.safetensors")
        road.design.mask.save(folder / "masks" / f"seed{road.seed}.h5")
