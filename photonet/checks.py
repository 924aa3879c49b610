"""Checks of what the user passes in: each returns the clean value or raises `photonet.errors`.

A check that passes formats nothing, so it costs nothing that matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from .errors import GridMismatch, InvalidArgument, UnknownName
from .transforms import numbers, unwrapped

__all__ = [
    "broadcasts",
    "choice",
    "count",
    "finite",
    "fraction",
    "instance",
    "lookup",
    "non_negative",
    "pair",
    "pictures",
    "positive",
    "real",
    "wavelength",
]

SHORTEST_WAVELENGTH = 1e-9
LONGEST_WAVELENGTH = 1e-3

REFUSALS = (RuntimeError, ValueError, IndexError)
"""What torch raises where shapes or types do not fit, or where it has no kernel for a dtype."""

T = TypeVar("T")


def real(name: str, value: Any, what: str = "a finite number") -> float:
    """Return ``value`` as a finite float; words and truth values are no numbers."""
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidArgument(name, what, f"{type(value).__name__} {value!r}"[:80]) from None
    if not math.isfinite(number):
        raise InvalidArgument(name, what, number)
    return number


def positive(name: str, value: Any, what: str = "a positive number") -> float:
    """Return ``value`` as a finite float above zero."""
    number = real(name, value, what)
    if number <= 0:
        raise InvalidArgument(name, what, number)
    return number


def non_negative(name: str, value: Any, what: str = "a number of at least 0") -> float:
    """Return ``value`` as a finite float of at least zero."""
    number = real(name, value, what)
    if number < 0:
        raise InvalidArgument(name, what, number)
    return number


def fraction(name: str, value: Any) -> float:
    """Return ``value`` as a float in [0, 1]."""
    number = real(name, value, "a fraction between 0 and 1")
    if not 0 <= number <= 1:
        raise InvalidArgument(name, "a fraction between 0 and 1", number)
    return number


def count(name: str, value: Any, least: int = 1) -> int:
    """Return ``value`` as an integer of at least ``least``."""
    try:
        whole = -1 if isinstance(value, bool) else int(value.__index__())
    except (AttributeError, TypeError):
        whole = -1
    if whole < least:
        raise InvalidArgument(name, f"a whole number of at least {least}", repr(value))
    return whole


def counts(name: str, values: Any, *, number: int | None = None) -> tuple[int, ...]:
    """Return several whole numbers of at least 1, ``number`` of them where that is given."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidArgument(name, "several whole numbers", f"{values!r}")
    found = tuple(count(name, value) for value in values)
    if number is not None and len(found) != number:
        raise InvalidArgument(name, f"{number} whole numbers", f"{len(found)} of them")
    return found


def pair(name: str, value: Any) -> tuple[Any, Any]:
    """Return ``(y, x)`` from one value for both axes or from a pair."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return value, value
    if len(value) != 2:
        raise InvalidArgument(name, "one value, or a pair (y, x)", f"{len(value)} values")
    return value[0], value[1]


def wavelength(value: Any, name: str = "wavelength") -> torch.Tensor:
    """Return the wavelengths in m as a float64 tensor of shape [L]; the autograd graph is kept.

    Anything below 1 nm or above 1 mm is refused: it is nearly always a number in nm or um.
    """
    if isinstance(value, (str, bytes, bool)):
        raise InvalidArgument(name, "one wavelength or a list of them, in m", repr(value)[:80])
    if not isinstance(value, torch.Tensor):
        try:  # a copy, as the coordinates of xarray are read-only
            value = torch.from_numpy(np.array(value, dtype=np.float64))
        except (TypeError, ValueError):
            raise InvalidArgument(name, "one wavelength or a list of them, in m", repr(value)[:80]) from None
    tensor = value.to(torch.float64)
    if tensor.ndim > 1 or tensor.numel() == 0:
        raise InvalidArgument(name, "one wavelength or a list of them, in m", f"shape {tuple(tensor.shape)}")
    tensor = tensor.reshape(-1)
    plain = unwrapped(tensor.detach())  # in this order: inside a transform what is detached is wrapped again
    if plain.shape != tensor.shape:
        got = "a batch of torch.func.vmap"
        raise InvalidArgument(
            name, "wavelengths that are known, as the sampling hangs on them", got, "pass [L]"
        )
    for w in numbers(plain):
        if not SHORTEST_WAVELENGTH <= w <= LONGEST_WAVELENGTH:
            hint = ""
            if 10 <= w <= 100_000:
                hint = f"if {w:g} is in nm, pass {w:g}e-9"
            elif 0.01 <= w < 10:
                hint = f"if {w:g} is in um, pass {w:g}e-6"
            raise InvalidArgument(name, "a wavelength in m, between 1e-9 (1 nm) and 1e-3 (1 mm)", w, hint)
    return tensor


def finite(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return ``tensor`` if all of it is finite; else say how many values are not, and where the first is."""
    instance(name, tensor, torch.Tensor, "a tensor")
    bad = ~torch.isfinite(unwrapped(tensor))
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise InvalidArgument(
            name, "finite values", f"{int(bad.sum())} NaN or infinite, the first at {first}"
        )
    return tensor


def instance(name: str, value: Any, kind: type[T], what: str, hint: str = "") -> T:
    """Return ``value`` if it is of a class, ``what`` in words."""
    if not isinstance(value, kind):
        raise InvalidArgument(name, what, f"{type(value).__name__} {value!r}"[:80], hint)
    return value


def pictures(name: str, value: Any) -> torch.Tensor:
    """Return ``value`` if it is a real tensor [..., y, x] in single or double precision."""
    instance(name, value, torch.Tensor, "a real tensor [..., y, x]")
    if value.dtype not in (torch.float32, torch.float64) or value.ndim < 2:
        got = f"{value.dtype} {tuple(value.shape)}"
        raise InvalidArgument(name, "a real tensor [..., y, x] in single or double precision", got)
    return value


def broadcasts(name: str, value: torch.Tensor, other: torch.Tensor, whose: str) -> None:
    """Raise `GridMismatch` where an axis and that of ``other`` are of different lengths, and neither is 1."""
    if any(a != b and 1 not in (a, b) for a, b in zip(value.shape[::-1], other.shape[::-1], strict=False)):
        raise GridMismatch(
            name, f"axes that broadcast with {tuple(other.shape)}, {whose}", tuple(value.shape)
        )


@contextmanager
def reworded(name: str, expected: str, got: str, hint: str = "") -> Iterator[None]:
    """Blame an argument where a network does not take it, in the words of torch.

    Torch says so by plain errors of several classes. Their subclasses are something else: out of memory, a
    device that failed, an error of this package.

    Raises:
        InvalidArgument: in place of a plain error; anything else passes.
    """
    try:
        yield
    except REFUSALS as error:
        if type(error) not in REFUSALS:
            raise
        words = str(error).split("\n")[0]
        raise InvalidArgument(name, expected, f"{got} ({words})", hint) from error


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of the names in ``allowed``."""
    names = list(allowed)
    if not isinstance(value, str) or value not in names:
        raise UnknownName(name, value, names)
    return value


def lookup(name: str, value: Any, table: Mapping[str, T]) -> T:
    """Return ``table[value]``; an unknown name raises with the near matches."""
    return table[choice(name, value, table)]
