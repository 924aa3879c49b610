"""Speed and memory of photonet against the bare FFT and against peers: ``python -m benchmarks``.

A case times a few contestants in turn (A, B, C, A, B, C, ...) so that a change of load meets all of them,
and reports medians of the CPU time as multiples of the first, the yardstick. Ratios under 30 % apart are
noise on a machine that does other things too.

    @case("what is compared", target=1.0)
    def something() -> Contest: ...
"""

from __future__ import annotations

import importlib
import pkgutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Case", "Contest", "case", "collect", "paired"]


@dataclass
class Contest:
    """Seconds (or bytes) of each contestant, the yardstick first, the one with the target second."""

    seconds: dict[str, list[float]]
    notes: list[str] = field(default_factory=list)

    def ratios(self) -> dict[str, float]:
        """Median time over the median of the yardstick."""
        medians = {name: statistics.median(times) for name, times in self.seconds.items()}
        yardstick = next(iter(medians.values()))
        return {name: m / yardstick for name, m in medians.items()}


@dataclass(frozen=True)
class Case:
    """One comparison; ``target`` is for the ratio of the second contestant to the first."""

    name: str
    target: float
    function: Callable[[], Contest]


_cases: list[Case] = []


def case(name: str, *, target: float) -> Callable[[Callable[[], Contest]], Callable[[], Contest]]:
    """Register a benchmark."""

    def register(function: Callable[[], Contest]) -> Callable[[], Contest]:
        _cases.append(Case(name, target, function))
        return function

    return register


def collect() -> list[Case]:
    """All cases of all modules of this package."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        if not module.startswith("_"):
            importlib.import_module(f"{__name__}.{module}")
    return list(_cases)


def paired(contestants: dict[str, Callable[[], object]], rounds: int) -> Contest:
    """CPU time of the contestants in turn, ``rounds`` times after one warm-up each."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return Contest(seconds)
