"""What a run returns: the trained student and its record, and how they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..files import atomic_path, write_text
from .log import history_csv, save_weights

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Distilled"]


@dataclass(frozen=True, eq=False, repr=False)
class Distilled:
    """A trained student and its record.

    Args:
        student: the module that was passed in, trained in place.
        history: Dataset over ``epoch``: the mean of each loss term (NaN where its weight was 0 all along),
            validation loss and `photonet.distill.samples.scores`.
        metrics: what was measured at the end.
        config: settings of the run, method and seed included.
    """

    student: nn.Module
    history: xr.Dataset
    metrics: dict[str, float]
    config: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        name, method = type(self.student).__name__, self.config.get("method", "?")
        return f"<Distilled: {name} by {method}, {self.history.sizes['epoch']} epochs, {numbers}>"

    def save(self, folder: str | Path) -> Path:
        """Write ``student.safetensors``, ``history.nc`` and ``.csv``, ``run.json``; returns the folder."""
        folder = Path(folder)
        save_weights(self.student, folder / "student.safetensors")
        with atomic_path(folder / "history.nc") as temporary:
            self.history.to_netcdf(temporary, engine="h5netcdf")
        write_text(folder / "history.csv", history_csv(self.history))
        write_text(
            folder / "run.json", json.dumps({"config": self.config, "metrics": self.metrics}, indent=2)
        )
        return folder
