"""Agreement of photonet with theory and with other programs: ``python -m validation``.

A case is a function without arguments that returns its error. It is registered with the name of what is
tested, the reference it is tested against, and the bound it must keep:

    @case("Gaussian over 1 m", reference="Hankel integral", bound=1e-10)
    def gaussian() -> float: ...

Any module of this package may hold cases; `collect` imports them all.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Case", "Result", "Skip", "case", "collect", "run"]


class Skip(Exception):
    """Raised by a case that cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Case:
    """One comparison: what, against what, and how large the error may be."""

    name: str
    reference: str
    bound: float
    function: Callable[[], float]
    slow: bool
    room: str


@dataclass(frozen=True)
class Result:
    """What came of a case; ``passed`` is None when it was skipped, and ``note`` says why."""

    room: str
    name: str
    reference: str
    error: float
    bound: float
    passed: bool | None
    seconds: float
    note: str = ""


_cases: list[Case] = []


def case(
    name: str, *, reference: str, bound: float, slow: bool = False
) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Register a function as a validation case; ``slow`` ones are left out of the test suite."""

    def register(function: Callable[[], float]) -> Callable[[], float]:
        room = function.__module__.rpartition(".")[2]
        _cases.append(Case(name, reference, bound, function, slow, room))
        return function

    return register


def collect() -> list[Case]:
    """All cases of all modules of this package."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        if not module.startswith("_"):
            importlib.import_module(f"{__name__}.{module}")
    return list(_cases)


def run(one: Case) -> Result:
    """Run a case. An error that is not a finite number fails."""
    start = time.perf_counter()
    try:
        error, note = float(one.function()), ""
    except Skip as reason:
        return Result(one.room, one.name, one.reference, math.nan, one.bound, None, 0.0, str(reason))
    passed = math.isfinite(error) and error <= one.bound
    seconds = time.perf_counter() - start
    return Result(one.room, one.name, one.reference, error, one.bound, passed, seconds, note)
