"""What one look at the probe scenes found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass

from .changes import CHANGES

__all__ = ["Look"]


@dataclass(frozen=True)
class Look:
    """What one look at the probe scenes found.

    Args:
        due: whether to recalibrate.
        kind: what explains most of the change: ``gain``, ``offset``, ``shift``, ``defocus``, ``noise``, the
            name of a response, or ``other``: a change of the mean frames that is none of the named ones (a
            turned camera, dust, a dead row). ``none`` if nothing is due.
        p: probability of at least so much evidence from a quiet bench (Bonferroni over the tests).
        level: the look is due when ``p`` is below it.
        estimates: ``gain`` (relative), ``offset`` (units of the frames), ``shift_y``, ``shift_x`` (pixels of
            the frames), ``defocus`` (half of the added variance of the blur, pixel²), ``noise`` (relative
            change of its standard deviation), and the responses in their units: value and standard error.
        statistics: each of the tests in standard deviations of a quiet bench.
        limit: of the absolute statistics, above which a look is due.
    """

    due: bool
    kind: str
    p: float
    level: float
    estimates: dict[str, tuple[float, float]]
    statistics: dict[str, float]
    limit: float

    def __str__(self) -> str:
        if not self.due:
            return f"quiet (p = {self.p:.2g}, alarm below {self.level:.2g})"
        named = [name for name in self.estimates if CHANGES.get(name, (name,))[0] == self.kind]
        numbers = [
            f"{name} {self.estimates[name][0]:+.3g} ± {self.estimates[name][1]:.2g}"
            f"{' ' + CHANGES[name][1] if name in CHANGES and CHANGES[name][1] else ''}"
            for name in named
        ]
        return f"recalibrate: {self.kind} ({', '.join([*numbers, f'p = {self.p:.1g}'])})"
