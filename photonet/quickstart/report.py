"""The quickstart's report: what was found, in the order of the road."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import plot
from ..data import Splits
from ..distill import predict
from ..report import Section, mean_and_spread, write_report
from .config import QuickstartConfig
from .road import Road

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["write_quickstart_report", "yield_lines"]


def yield_lines(devices: xr.Dataset) -> list[str]:
    """One sentence per requirement: how many devices pass, with the 95 % interval."""
    lines = []
    for name in (r for r in devices["requirement"].values if r != "all"):
        one = devices.sel(requirement=name)
        rate, low, high = (100 * float(one[v]) for v in ("yield", "yield_low", "yield_high"))
        limit = 100 * float(one["threshold"])
        lines.append(
            f"{rate:.0f} % of {devices.sizes['device']} devices reach {limit:.1f} % {name} "
            f"(95 % interval {low:.0f} to {high:.0f} %)"
        )
    return lines


def write_quickstart_report(
    folder: Path,
    results: xr.Dataset,
    devices: xr.Dataset,
    roads: list[Road],
    splits: Splits,
    config: QuickstartConfig,
) -> Path:
    """Write ``report.html`` and its pictures; the pictures show the first seed."""
    road, test = roads[0], splits.test
    before = predict(road.student.backend, road.before.features)
    after = predict(road.corrected.backend, road.before.features)
    with torch.no_grad():
        simulated = road.student.features(test.images)
    side = road.target.shape[-1]
    rates = ", ".join(
        f"{m} {float(results['learning_rate'].sel(student=m)):g}" for m in results["student"].values
    )
    kept = "; ".join(
        f"{way}: {', '.join(results['kept'].sel(way=way).values)}" for way in results["way"].values
    )
    rows = [("network", "test accuracy (%)"), *mean_and_spread(results["accuracy"])]
    sections = [
        Section(
            "Result",
            f"{test.name}, {len(splits.train)} training and {len(test)} test pictures; "
            f"mean and standard deviation over {len(roads)} seeds. The teacher is the same for all "
            "seeds. Baselines are trained by kd.\n\n"
            f"Learning rates, chosen per method on validation data: {rates}.\n\n"
            f"What each correction kept after looking at held-out frames, per seed: {kept}.",
            table=rows,
        ),
        Section("Table as a picture", name="accuracy", figure=plot.table_bars(results["accuracy"])),
        Section("Training", name="curves", figure=plot.curves(results)),
        Section(
            "Masks",
            f"Reliefs in fused silica at {1e9 * config.wavelength:.0f} nm; the sensor is "
            f"{1e3 * config.distance:g} mm behind. On average "
            f"{100 * float(road.design.efficiency.mean()):.0f} % of the light lands on the kernel's "
            f"{side} x {side} pixels; "
            f"relative error of the point spread functions {float(road.design.error.mean()):.2f}.",
            name="masks",
            figure=plot.masks(road.design),
        ),
        Section(
            "Kernels: wished, designed, measured",
            "The measured row is what the fabricated device's camera sees when the display shows one bright "
            "pixel: with its gain, crosstalk, displacement and noise.",
            name="kernels",
            figure=plot.kernel_rows(
                {
                    "wished": road.target[:, 0],
                    "designed": road.design.kernels()[:, 0],
                    "measured": road.device.point_response(2 * (road.design.psf().shape[-1] // 2) + 1),
                }
            ),
        ),
        Section(
            "Before and after correction",
            f"The corrected network has seen {100 * config.fraction:g} % of the measured training scenes.",
            name="confusion",
            figure=plot.confusion(
                {"uncorrected": before.argmax(1), "corrected": after.argmax(1)}, test.labels, test.classes
            ),
        ),
        Section(
            "Features",
            "t-SNE of the feature maps that the backend was trained for, and of those that the "
            "device delivers.",
            name="features",
            figure=plot.embedding(
                {"simulated": simulated, "measured": road.before.features}, test.labels, config.seed
            ),
        ),
        Section(
            "Tolerance",
            ". ".join(yield_lines(devices)) + ". Corrected means calibrated without labels.",
            name="tolerance",
            figure=plot.yields(devices),
        ),
        Section(
            "Settings", table=[("setting", "value"), *((k, str(v)) for k, v in config.as_dict().items())]
        ),
    ]
    return write_report(folder / "report.html", "photonet quickstart", sections)
