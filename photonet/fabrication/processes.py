"""Fabrication processes: lists of errors with magnitudes, read from ``materials/processes``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import checks, materials
from ..errors import DataError, PhotonetError
from .dimensions import HeightError, RefractiveIndexError, SurfaceRoughness, WidthError
from .draws import FabricationError
from .fringing import FringingField
from .overlay import MaskOverlay
from .pillars import EdgeRoughness, MissingPillars, SidewallAngle
from .position import LateralError

__all__ = ["ERRORS", "process"]

ERRORS: dict[str, Callable[..., FabricationError]] = {
    error.__name__: error
    for error in (
        EdgeRoughness,
        FringingField,
        HeightError,
        LateralError,
        MaskOverlay,
        MissingPillars,
        RefractiveIndexError,
        SidewallAngle,
        SurfaceRoughness,
        WidthError,
    )
}
"""The errors a process file may name."""


def process(name: str) -> list[FabricationError]:
    """The errors of a fabrication process, ready for ``Mask.perturb``.

    The magnitudes are starting points, not measurements of a machine: each file says for every number
    where it comes from and how far it is trusted (`photonet.materials.read("processes", name)`), and most
    are from memory. Put the numbers of your own fab in a file of your own, or in a list in Python.

    Args:
        name: one of ``photonet.materials.names("processes")``.

    Returns:
        Fabrication errors, in the order in which they are applied.

    Raises:
        UnknownName: there is no such process; the message offers the near matches.
        DataError: the file names an unknown error, or gives it values it cannot have.

    Example:
        >>> [type(error).__name__ for error in process("duv-pillars")]
        ['WidthError', 'HeightError', 'SidewallAngle', 'EdgeRoughness']
    """
    return [_error(name, entry) for entry in materials.read("processes", name).get("error", [])]


def _error(name: str, entry: dict[str, Any]) -> FabricationError:
    values = {key: v for key, v in entry.items() if key not in ("type", "source", "trust")}
    try:
        return checks.lookup("type", entry.get("type"), ERRORS)(**values)
    except (PhotonetError, TypeError) as error:
        raise DataError(f"process {name}: {error}") from None
