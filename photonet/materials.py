"""Data files with a source: refractive indices, meta-atom libraries, processes, cameras.

The files lie in the top-level folder ``materials/`` of a checkout, and in ``photonet/_materials`` of an
installed wheel; nothing is ever downloaded. Nothing is extrapolated either: outside the range in which
the numbers were measured an error names that range.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import checks
from .errors import DataError, DataMissing, InvalidArgument, UnknownName
from .transforms import numbers

__all__ = ["Material", "MetaAtomLibrary", "constant", "load", "load_meta_atoms", "names", "path", "read"]

Terms = tuple[tuple[float, ...], ...]


def _folder() -> Path:
    package = Path(__file__).parent
    for folder in (package / "_materials", package.parent / "materials"):
        if (folder / "dispersion").is_dir():
            return folder
    raise DataMissing(
        f"the material files are neither in {package / '_materials'} nor in {package.parent / 'materials'}; "
        "reinstall photonet"
    )


def names(kind: str) -> list[str]:
    """The names of the files of one kind.

    Args:
        kind: a folder of ``materials/``, for example ``"dispersion"`` or ``"meta_atoms"``.

    Raises:
        UnknownName: there is no such kind.

    Example:
        >>> names("meta_atoms")
        ['sin-pillars-293nm']
    """
    folder = _folder()
    checks.choice("kind", kind, [p.name for p in folder.iterdir() if p.is_dir()])
    return sorted(p.stem for p in (folder / kind).glob("*.toml"))


def path(kind: str, name: str, argument: str = "name") -> Path:
    """Where the file of that kind and name lies, in a checkout and in an installed copy alike.

    Args:
        kind: a folder of ``materials/``.
        name: of the file, without its ending.
        argument: what the caller calls the name, for the error.

    Raises:
        UnknownName: no such kind or name; the message offers the near matches.

    Example:
        >>> path("dispersion", "SiO2").name
        'SiO2.toml'
    """
    known = names(kind)
    if name not in known:
        raise UnknownName(argument, name, known)
    return _folder() / kind / f"{name}.toml"


def read(kind: str, name: str, argument: str = "name") -> dict[str, Any]:
    """The content of one file, as TOML tables; arguments as for `path`.

    Raises:
        UnknownName: no such kind or name.
        DataError: the file is not TOML.
    """
    file = path(kind, name, argument)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a TOML file: {error}") from None


# Every formula takes the wavelength in um (the unit of the published coefficients), the constant and
# the pairs (B, C) or rows of the table, and returns n or n + i k. In refractiveindex.info they are numbered
# 1, 2, 4 (a part of it) and 6.


def _sellmeier(um: torch.Tensor, constant: float, terms: Terms) -> torch.Tensor:
    return torch.sqrt(sum((b * um**2 / (um**2 - c**2) for b, c in terms), 1 + constant + 0 * um))


def _sellmeier_2(um: torch.Tensor, constant: float, terms: Terms) -> torch.Tensor:
    return torch.sqrt(sum((b * um**2 / (um**2 - c) for b, c in terms), 1 + constant + 0 * um))


def _devore(um: torch.Tensor, constant: float, terms: Terms) -> torch.Tensor:
    return torch.sqrt(sum((b / (um**2 - c) for b, c in terms), constant + 0 * um))


def _gas(um: torch.Tensor, constant: float, terms: Terms) -> torch.Tensor:
    return sum((b / (c - um**-2) for b, c in terms), 1 + constant + 0 * um)


def _constant(um: torch.Tensor, constant: float, terms: Terms) -> torch.Tensor:
    return constant + 0 * um


def _table(um: torch.Tensor, constant: float, terms: Terms) -> torch.Tensor:
    rows = torch.tensor(terms, dtype=torch.float64, device=um.device)
    right = torch.searchsorted(rows[:, 0].contiguous(), um.detach()).clamp(1, len(terms) - 1)
    low, high = rows[right - 1], rows[right]
    part = (um - low[:, 0]) / (high[:, 0] - low[:, 0])
    n, k = (low[:, i] + part * (high[:, i] - low[:, i]) for i in (1, 2))
    return torch.complex(n + constant, k)


_FORMULAS: dict[str, Callable[[torch.Tensor, float, Terms], torch.Tensor]] = {
    "sellmeier": _sellmeier,
    "sellmeier-2": _sellmeier_2,
    "devore": _devore,
    "gas": _gas,
    "constant": _constant,
    "table": _table,
}


@dataclass(frozen=True)
class Material:
    """A homogeneous, isotropic material: its index against the vacuum wavelength.

    Attributes:
        name: as in `names("dispersion")`.
        description: what was measured, and how warm it was.
        reference: the paper.
        page: shelf/book/page of refractiveindex.info.
        range: shortest and longest vacuum wavelength in m for which the formula holds.
        formula: name of the dispersion formula (materials/README.md).
        terms: its pairs (B, C) for wavelengths in um, or the rows (um, n, k) of a table.
        offset: its constant term.
    """

    name: str
    description: str
    reference: str
    page: str
    range: tuple[float, float]
    formula: str
    terms: Terms
    offset: float

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Material:
        """A material from the fields of its file.

        Raises:
            DataError: a field is missing, or the formula is unknown.
        """
        try:
            formula = checks.choice("formula", data["formula"], _FORMULAS)
            low, high = (float(w) for w in data["range"])
            length = 3 if formula == "table" else 2
            terms = tuple(tuple(float(v) for v in term) for term in data["terms"])
            if any(len(term) != length for term in terms):
                raise ValueError(f"terms of {length} numbers each are wanted for the formula {formula}")
            return cls(
                name=str(data["name"]),
                description=str(data["description"]),
                reference=str(data["reference"]),
                page=str(data["page"]),
                range=(low, high),
                formula=formula,
                terms=terms,
                offset=float(data.get("constant", 0.0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"material {data.get('name', '?')}: {error!r}") from None

    def to_dict(self) -> dict[str, Any]:
        """The fields of its file (so that a saved mask carries its material)."""
        return {
            "name": self.name,
            "description": self.description,
            "reference": self.reference,
            "page": self.page,
            "range": list(self.range),
            "formula": self.formula,
            "terms": [list(t) for t in self.terms],
            "constant": self.offset,
        }

    def index(self, wavelength: Any) -> torch.Tensor:
        """Refractive index at vacuum wavelengths in m, [L], differentiable in the wavelength.

        float64 for a formula; complex128, n + i k, for a table (k above 0 absorbs).

        Raises:
            InvalidArgument: a wavelength outside the range of the data.

        Example:
            >>> f"{load('SiO2').index(587.6e-9).item():.4f}"
            '1.4585'
        """
        tensor = checks.wavelength(wavelength)
        low, high = self.range
        for w in numbers(tensor):
            # a nanometre written as 430e-9 may lie one rounding below 0.43e-6
            if not low * (1 - 1e-9) <= w <= high * (1 + 1e-9):
                raise InvalidArgument(
                    "wavelength",
                    f"a wavelength between {low:g} and {high:g} m, where {self.name} was measured",
                    w,
                )
        return _FORMULAS[self.formula](tensor * 1e6, self.offset, self.terms)


def load(name: str, argument: str = "name") -> Material:
    """The material of that name.

    Args:
        name: one of ``names("dispersion")``.
        argument: what the caller calls it, for the error.

    Raises:
        UnknownName: there is no such material; the message offers the near matches.

    Example:
        >>> load("air").reference.split(",")[0]
        'P. E. Ciddor'
    """
    return Material.from_dict(read("dispersion", name, argument))


def constant(index: float, name: str = "constant") -> Material:
    """A material whose index is one number at every wavelength (a resist known at one line only, say).

    Raises:
        InvalidArgument: the index is not a positive number.

    Example:
        >>> constant(1.5).index([450e-9, 635e-9]).tolist()
        [1.5, 1.5]
    """
    return Material(
        name=name,
        description="one index for all wavelengths",
        reference="given by the user",
        page="",
        range=(checks.SHORTEST_WAVELENGTH, checks.LONGEST_WAVELENGTH),
        formula="constant",
        terms=(),
        offset=checks.positive("index", index, "a positive refractive index"),
    )


@dataclass(frozen=True)
class MetaAtomLibrary:
    """Pillars of one height on one lattice: the phase they give, from their width, at listed wavelengths.

    Attributes:
        name, description, source, trust: what it is, where it comes from, how far to believe it.
        height: pillar height in m.
        period: pitch of the pillars in m.
        width: narrowest and widest pillar in m; a width of 0 is an empty cell.
        coefficients: vacuum wavelength in m -> (a, b, c) of
            ``cycles = a * (1 - exp(-(w^2 - 2 b w) / c))``, w in um.
    """

    name: str
    description: str
    source: str
    trust: str
    height: float
    period: float
    width: tuple[float, float]
    coefficients: tuple[tuple[float, tuple[float, float, float]], ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MetaAtomLibrary:
        """A library from the fields of its file.

        Raises:
            DataError: a field is missing or not a number.
        """
        try:
            low, high = (float(w) for w in data["width"])
            rows = []
            for row in data["phase"]:
                a, b, c = (float(v) for v in row["coefficients"])
                rows.append((float(row["wavelength"]), (a, b, c)))
            return cls(
                name=str(data["name"]),
                description=str(data["description"]),
                source=str(data["source"]),
                trust=str(data["trust"]),
                height=float(data["height"]),
                period=float(data["period"]),
                width=(low, high),
                coefficients=tuple(rows),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"meta-atom library {data.get('name', '?')}: {error!r}") from None

    def to_dict(self) -> dict[str, Any]:
        """The fields of its file (so that a saved mask carries its library)."""
        return {
            "name": self.name,
            "description": self.description,
            "source": self.source,
            "trust": self.trust,
            "height": self.height,
            "period": self.period,
            "width": list(self.width),
            "phase": [{"wavelength": w, "coefficients": list(c)} for w, c in self.coefficients],
        }

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """The wavelengths in m at which the library knows the phase."""
        return tuple(w for w, _ in self.coefficients)

    def phase(self, width: torch.Tensor, wavelength: Any) -> torch.Tensor:
        """Phase in rad, relative to the empty cell, not wrapped: float64 [..., L, y, x].

        The proxy is smooth, so widths that fabrication pushed a little out of the design range are
        continued by the formula.

        Args:
            width: pillar widths in m, [..., y, x].
            wavelength: one or more of `wavelengths`, in m.

        Raises:
            InvalidArgument: a wavelength that the library does not have.

        Example:
            >>> library = load_meta_atoms("sin-pillars-293nm")
            >>> width = torch.tensor([[237e-9]], dtype=torch.float64)
            >>> f"{library.phase(width, 532e-9).item() / (2 * math.pi):.3f} cycles"
            '1.106 cycles'
        """
        um = width.to(torch.float64) * 1e6
        maps = []
        for a, b, c in (self._at(w) for w in numbers(checks.wavelength(wavelength))):
            maps.append(2 * math.pi * a * -torch.expm1(-(um**2 - 2 * b * um) / c))
        return torch.stack(maps, dim=-3)

    def _at(self, wavelength: float) -> tuple[float, float, float]:
        for known, coefficients in self.coefficients:
            if math.isclose(known, wavelength, rel_tol=1e-6):
                return coefficients
        listed = ", ".join(f"{w * 1e9:g} nm" for w in self.wavelengths)
        raise InvalidArgument(
            "wavelength", f"a wavelength of the library {self.name} ({listed})", f"{wavelength * 1e9:g} nm"
        )


def load_meta_atoms(name: str, argument: str = "name") -> MetaAtomLibrary:
    """The meta-atom library of that name; ``argument`` is what the caller calls it, for the error.

    Raises:
        UnknownName: there is no such library; the message offers the near matches.

    Example:
        >>> load_meta_atoms("sin-pillars-293nm").period
        2.93e-07
    """
    return MetaAtomLibrary.from_dict(read("meta_atoms", name, argument))
