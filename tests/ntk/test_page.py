"""The page on costs and the recorded run say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/ntk.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE))
CASES = {c["name"]: c["ratios"] for c in json.loads((ROOT / "benchmarks/results.json").read_text())["cases"]}
STEP, TRACE = (
    "training step along one random direction / cross-entropy step",
    "NTK: exact trace kernel of 10 outputs",
)


@pytest.mark.parametrize(
    ("row", "case", "above", "below"),
    [
        (
            f"{STEP}, 0.05 M student",
            "NTK: step along one random direction, 0.05 M student",
            "with kernel",
            None,
        ),
        (
            "the same, 1.6 M student",
            "NTK: step along one random direction, 1.6 M student",
            "with kernel",
            None,
        ),
        (
            "exact trace kernel of 10 outputs, `vmap(jacrev)` / structured, 0.05 M student",
            f"{TRACE}, 0.05 M student, batch 128",
            "jacrev",
            "structured",
        ),
        (
            "the same with the gradient of the kernel",
            "NTK: the same with its gradient",
            "jacrev",
            "structured",
        ),
        (
            "the recipe of torch's tutorial / structured, with the gradient",
            "NTK: the same with its gradient",
            "tutorial",
            "structured",
        ),
        (
            "exact trace kernel with its gradient by `vmap(jacrev)` / one random direction with its gradient",
            "NTK: the same with its gradient",
            "jacrev",
            "one direction",
        ),
    ],
)
def test_ranges_hold_what_was_recorded(row: str, case: str, above: str, below: str | None) -> None:
    low, high = (float(number) for number in re.findall(r"\d+(?:\.\d+)?", ROWS[row])[:2])
    recorded = CASES[case][above] / (1.0 if below is None else CASES[case][below])
    rounding = 0.05 if high < 10 else 0.5
    assert low - rounding <= recorded <= high + rounding
