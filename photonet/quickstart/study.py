"""How often the quickstart's design would work: many devices from the same errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..data import Splits
from ..design import MaskDesign
from ..distill import correct
from ..measured import ERRORS, Device, make_devices
from ..nn import HybridNetwork
from ..tolerance import Normal, Uniform, tolerance
from ..tolerance.distributions import Distribution
from .config import QuickstartConfig
from .road import score

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["errors", "study"]

ALLOWED_LOSS = 0.01
"""A device passes when it is at most this far below its simulation."""


def errors(config: QuickstartConfig) -> dict[str, Distribution]:
    """The laws that devices are drawn from."""
    laws: dict[str, Distribution] = {
        "height": Normal(0.0, config.height, unit=ERRORS["height"]),
        "shift_y": Uniform(-config.shift, config.shift, unit=ERRORS["shift_y"]),
        "shift_x": Uniform(-config.shift, config.shift, unit=ERRORS["shift_x"]),
        "gain": Uniform(0.0, config.gain, unit=ERRORS["gain"]),
        "crosstalk": Uniform(0.0, config.crosstalk, unit=ERRORS["crosstalk"]),
    }
    return {name: law for name, law in laws.items() if getattr(config, name.split("_")[0]) > 0}


@dataclass(frozen=True)
class _Factory:
    design: MaskDesign
    binning: int
    config: QuickstartConfig

    def __call__(self, draws: Mapping[str, torch.Tensor], seeds: Sequence[int]) -> list[Device]:
        return make_devices(
            self.design, draws, seeds, binning=self.binning,
            light=self.config.light, roughness=self.config.roughness,
        )  # fmt: skip


@dataclass(frozen=True)
class _Bench:
    """Measures a device, corrects it without labels, and tells its accuracy before and after."""

    student: HybridNetwork
    splits: Splits
    config: QuickstartConfig

    def __call__(self, device: Device) -> dict[str, float]:
        test = self.splits.test
        scenes, labels = test.images[: self.config.study_scenes], test.labels[: self.config.study_scenes]
        frames = max(6, round(self.config.fraction * len(self.splits.train)))
        measured = device.measure(scenes)
        bench = device.measure(self.splits.train.images[:frames], exposure=1)
        corrected = correct(self.student, bench, fraction=1.0, method="calibration", seed=device.seed).student
        return {
            "uncorrected": score(self.student.backend, measured.features, labels),
            "corrected": score(corrected.backend, measured.features, labels),
        }


def study(
    student: HybridNetwork, design: MaskDesign, splits: Splits, config: QuickstartConfig, **more: Any
) -> xr.Dataset:
    """The tolerance study of the quickstart's design.

    A device passes when its accuracy is at most one point below the simulated network's on the same scenes.

    Args:
        student: network with the kernels of the designed masks.
        design: the masks.
        splits: correction measures training scenes, judgement uses test scenes.
        config: of the quickstart.
        more: passed on to `photonet.tolerance`.

    Returns:
        Dataset over ``device``: the draws, accuracy ``uncorrected`` and ``corrected``, and the yields.
    """
    scenes, labels = splits.test.images[: config.study_scenes], splits.test.labels[: config.study_scenes]
    simulated = score(student, scenes, labels)
    limit = simulated - ALLOWED_LOSS
    result = tolerance(
        _Factory(design, student.optics.binning, config),
        _Bench(student, splits, config),
        errors(config),
        samples=config.devices,
        require={"uncorrected": limit, "corrected": limit},
        seed=config.seed,
        **more,
    )
    return result.assign_attrs(simulated=simulated)
