"""Paired comparison of arms that share their seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["compare", "holm", "paired", "percent"]

Key = TypeVar("Key")


def compare(scores: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation, and the paired t test of each arm against one, Holm-corrected.

    Args:
        scores: arm -> one score per seed, in the same order.
        reference: the arm the others are compared with.
    """
    found: dict[str, dict[str, Any]] = {}
    for arm, values in scores.items():
        found[arm] = {"mean": statistics.mean(values), "std": statistics.stdev(values)}
        if arm != reference:
            differences = [a - b for a, b in zip(values, scores[reference], strict=True)]
            found[arm]["difference"] = statistics.mean(differences)
            found[arm]["p"] = paired(values, scores[reference])
    for arm, p in holm({arm: found[arm]["p"] for arm in found if arm != reference}).items():
        found[arm]["p_holm"] = p
    return found


def paired(values: Sequence[float], others: Sequence[float]) -> float:
    """p of the two-sided paired t test."""
    from scipy.stats import ttest_rel

    return float(ttest_rel(values, others).pvalue)


def holm(p: Mapping[Key, float]) -> dict[Key, float]:
    """Values of p after Holm's correction for their number (Scand. J. Stat. 6, 65, 1979)."""
    found: dict[Key, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p, key=p.__getitem__)):
        largest = max(largest, min(1.0, p[key] * (len(p) - rank)))
        found[key] = largest
    return found


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation, in percent."""
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"
