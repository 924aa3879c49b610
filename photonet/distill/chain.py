"""The names of corrections: a step, or several joined by a plus, each made from what the last one left."""

from __future__ import annotations

from collections.abc import Iterable

from .. import checks
from ..errors import InvalidArgument
from .config import METHODS
from .terms import needs

__all__ = ["CORRECTIONS", "candidates_of", "needs_of", "steps_of", "uses_labels"]

OPENINGS = ("calibration", "twin")
"""Steps that begin with the backend as it was: only the first one can be of these."""

CORRECTIONS = ("auto", "none", *OPENINGS, *METHODS, "self-kd", "gauss-newton")
"""Names of `photonet.correct`; all but the first two can be joined by a plus."""

AUTO = ("none", "calibration", "calibration+gauss-newton", "calibration+self-kd", "twin")


def steps_of(method: str) -> tuple[str, ...]:
    """The steps of a correction, none for ``none``.

    Raises:
        UnknownName: a step does not exist.
        InvalidArgument: a step that can only be the first one comes later, or is ``auto`` or ``none``.

    Example:
        >>> steps_of("calibration+gauss-newton+self-kd")
        ('calibration', 'gauss-newton', 'self-kd')
    """
    steps = tuple(str(method).split("+"))
    for index, step in enumerate(steps):
        checks.choice("method", step, CORRECTIONS)
        if len(steps) > 1 and (step in ("auto", "none") or (index and step in OPENINGS)):
            expected = "calibration or twin first, then refinements, joined by +"
            raise InvalidArgument("method", expected, method, f"{step} cannot be number {index + 1}")
    return () if steps == ("none",) else steps


def candidates_of(method: str) -> tuple[str, ...]:
    """What is compared for a method, the simplest first: each step after those before it, or nothing.

    Raises:
        UnknownName, InvalidArgument: see `steps_of`.

    Example:
        >>> candidates_of("calibration+gauss-newton")
        ('none', 'calibration', 'calibration+gauss-newton')
    """
    steps = steps_of(method)
    if steps == ("auto",):
        return AUTO
    return "none", *("+".join(steps[: n + 1]) for n in range(len(steps)))


def needs_of(name: str) -> set[str]:
    """What a candidate asks of labels and teacher beside the frames.

    Example:
        >>> sorted(needs_of("calibration+kd")), needs_of("self-kd")
        (['labels', 'teacher'], set())
    """
    return set().union(*(needs(METHODS.get(step, ())) for step in steps_of(name)))


def uses_labels(names: Iterable[str]) -> bool:
    """Whether one of the candidates learns from labels.

    Example:
        >>> uses_labels(["none", "calibration+ce"]), uses_labels(["none", "self-kd"])
        (True, False)
    """
    return any("labels" in needs_of(name) for name in names)
