"""Paired comparison of arms that share their seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["compare", "percent"]


def compare(scores: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation, and the paired t test of each arm against one, Holm-corrected.

    Args:
        scores: arm -> one score per seed, in the same order.
        reference: the arm the others are compared with.
    """
    from scipy.stats import ttest_rel

    found: dict[str, dict[str, Any]] = {}
    for arm, values in scores.items():
        found[arm] = {"mean": statistics.mean(values), "std": statistics.stdev(values)}
        if arm != reference:
            differences = [a - b for a, b in zip(values, scores[reference], strict=True)]
            found[arm]["difference"] = statistics.mean(differences)
            found[arm]["p"] = float(ttest_rel(values, scores[reference]).pvalue)
    others = sorted((arm for arm in found if arm != reference), key=lambda arm: found[arm]["p"])
    largest = 0.0
    for rank, arm in enumerate(others):
        largest = max(largest, min(1.0, found[arm]["p"] * (len(others) - rank)))
        found[arm]["p_holm"] = largest
    return found


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation, in percent."""
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"
