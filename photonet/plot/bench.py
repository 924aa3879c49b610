"""Figures of a bench: how many frames to measure, and how it drifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidArgument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..measured import Look, PilotPlan

__all__ = ["drift", "learning_curve"]


def learning_curve(plan: PilotPlan) -> Figure:
    """Corrected accuracy against the number of measured samples, with its band.

    Points are what parts of the pilot reached. Right of the dotted line the curve is extrapolated.

    Args:
        plan: from `photonet.measured.plan_pilot`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    curve = plan.curve
    n, level = curve["n"].values, 100 * curve.attrs["level"]
    axes.fill_between(
        n, 100 * curve["low"], 100 * curve["high"], alpha=0.25, lw=0, label=f"{level:.0f} % band"
    )
    axes.plot(n, 100 * curve["accuracy"], label="median")
    tried, low, high = (100 * curve[name].values for name in ("tried", "tried_low", "tried_high"))
    axes.errorbar(
        curve["size"], tried, yerr=[tried - low, high - tried], fmt="ko", ms=4, capsize=2, label="tried"
    )
    axes.axvline(plan.pilot, color="0.4", ls=":", lw=1)
    axes.axhline(100 * plan.simulated, color="0.4", ls="--", lw=1, label="simulated, these scenes")
    axes.axhline(100 * plan.uncorrected, color="tab:red", ls="--", lw=1, label="uncorrected, these scenes")
    axes.set_xscale("log")
    axes.set(xlabel="measured samples", ylabel=f"{curve.attrs['metric']} (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def drift(looks: Sequence[Look]) -> Figure:
    """Statistics of successive looks over the limit of a quiet bench; beyond 1 a look is due.

    Args:
        looks: from `photonet.measured.DriftMonitor.look`, in their order.

    Raises:
        InvalidArgument: no looks.
    """
    from matplotlib.figure import Figure

    if not looks:
        raise InvalidArgument("looks", "one or more looks", "none")
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    place = np.arange(1, len(looks) + 1)
    for name in looks[0].statistics:
        axes.plot(place, [abs(look.statistics[name]) / look.limit for look in looks], "o-", ms=3, label=name)
    axes.axhline(1, color="k", lw=1)
    for number, look in zip(place, looks, strict=True):
        if look.due:
            axes.annotate(
                look.kind, (number, 1), (0, -12), textcoords="offset points", fontsize=7, ha="center"
            )
    axes.set_yscale("log")
    axes.set(xlabel="look", ylabel="|statistic| / limit", ylim=(1e-2, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2, loc="upper left")
    return figure
