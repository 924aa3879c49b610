"""What can go wrong, each with the argument's name, what was expected, what came and what would work.

Every error of this package derives from `PhotonetError`, so one ``except`` catches them all; each
also derives from the built-in exception a Python user would expect (``ValueError``, ``OSError``...).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "DataMissing",
    "GridMismatch",
    "InvalidArgument",
    "MemoryEstimateError",
    "MissingDependency",
    "PhotonetError",
    "SamplingError",
    "SamplingWarning",
    "TrainingDiverged",
    "UnknownName",
]


class PhotonetError(Exception):
    """Base of every error that photonet raises on purpose.

    Example:
        >>> import photonet
        >>> try:
        ...     photonet.Grid(shape=64, pitch=-1e-6)
        ... except photonet.errors.PhotonetError as error:
        ...     print(error)
        pitch: expected a positive length in m, got -1e-06
    """


class InvalidArgument(PhotonetError, ValueError):
    """An argument has a value that cannot be used.

    Args:
        argument: name of the argument as the caller wrote it.
        expected: what would be valid, in words and with its unit.
        got: what came (never a whole tensor: pass a description of it).
        hint: what to do instead, if that is known.

    Example:
        >>> print(InvalidArgument("distance", "a finite length in m", float("nan")))
        distance: expected a finite length in m, got nan
    """

    def __init__(self, argument: str, expected: str, got: object, hint: str = "") -> None:
        self.argument, self.expected, self.got, self.hint = argument, expected, got, hint
        super().__init__(f"{argument}: expected {expected}, got {got}" + (f"; {hint}" if hint else ""))


class GridMismatch(InvalidArgument):
    """Two things that must be sampled alike are not (shape, pitch, centre or wavelength axis)."""


class UnknownName(InvalidArgument):
    """A name that is not in a table of names; the message offers the near matches.

    Args:
        argument: name of the argument.
        got: the unknown name.
        known: the names that exist.

    Example:
        >>> print(UnknownName("method", "ntdk", ["ce", "kd", "ntkd"]))
        method: expected one of ce, kd, ntkd, got 'ntdk'; did you mean ntkd?
    """

    def __init__(self, argument: str, got: object, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(str(got), names, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else ""
        super().__init__(argument, f"one of {', '.join(names)}", repr(got), hint)


class SamplingError(InvalidArgument):
    """The sampling cannot represent the light (raised instead of `SamplingWarning` when strict)."""


class MemoryEstimateError(PhotonetError, MemoryError):
    """The job would need more memory than the machine has; said before anything is computed."""


class DataError(PhotonetError, ValueError):
    """A file or data set is damaged or inconsistent; the message names the file and the place."""


class DataMissing(PhotonetError, FileNotFoundError):
    """A data folder or file is not there; the message says how to get it."""


class MissingDependency(PhotonetError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class TrainingDiverged(PhotonetError, FloatingPointError):
    """The loss or a weight became NaN or infinite; the message names the step and the last good state."""


class SamplingWarning(UserWarning):
    """The predicted error of a result is above 1 %: the number that breaks and the one that would hold."""
