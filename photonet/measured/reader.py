"""Read measured data: lazily, and only what is neither damaged nor faulty."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checks
from ..errors import DataError
from ..files import as_path
from .container import SealedFile
from .faults import FAULTS, faults
from .schema import GROUPS, validate

__all__ = ["Frames", "MeasuredData", "Pictures"]

WIDE = (np.uint32, np.uint64, np.float64)


class Pictures:
    """A stack of pictures in an open file, read when they are asked for.

    Indexing with a number, a slice or a list of numbers gives a tensor: float32, which holds 16-bit grey
    values exactly, or float64 for more than 16 bits and for data that was written in it.

    Attributes:
        shape: [n, ..., y, x].
    """

    def __init__(self, owner: MeasuredData, where: str, data: Any, white: float = 1.0) -> None:
        self._owner, self._where, self._data, self._white = owner, where, data, white
        self.shape = torch.Size(data.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> torch.Tensor:
        rows = torch.arange(len(self))[index]  # every kind of index, checked once, by torch
        wanted = rows.reshape(-1).numpy()
        if not len(wanted):
            return torch.empty(0, *self.shape[1:])
        order, back = np.unique(wanted, return_inverse=True)
        contiguous = order[-1] - order[0] + 1 == len(order)
        key = slice(int(order[0]), int(order[-1]) + 1) if contiguous else order
        place = f"{self._where}, frame {order[0]}" + (f" to {order[-1]}" if len(order) > 1 else "")
        array = self._owner.guard(lambda: self._data[key], place)
        tensor = torch.from_numpy(array.astype(np.float64 if array.dtype in WIDE else np.float32, copy=False))
        if self._white != 1:
            tensor = tensor / self._white
        return tensor[torch.from_numpy(back)].reshape(*rows.shape, *self.shape[1:])

    def batches(self, size: int) -> Iterable[torch.Tensor]:
        """The frames in order, ``size`` at a time."""
        return (self[i : i + size] for i in range(0, len(self), checks.count("size", size)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _within, (self._owner, self._where)  # workers open the file for themselves

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where} {tuple(self.shape)}>"


class Frames(Pictures):
    """One group of frames of an open file, with what was noted beside them.

    Attributes:
        shape: [n, ..., y, x].
        group: its name in the file.
        file: checksum of the file.
        exposure, temperature, time: float64 [n]; in s, degrees C and s since 1970.
        mean: mean value of each frame, float64 [n].
        saturated: share of saturated pixels of each frame, float64 [n] (see `write` for unknown bits).
        shown: what the display showed, `Pictures` [n, c, y, x] in [0, 1], or None.
        label: int64 [n] or [n, y, x], or None.
        name: identifiers, or None.
        position: of point sources (y, x) in m, float64 [n, 2], or None.
    """

    def __init__(self, owner: MeasuredData, where: str, source: Any) -> None:
        super().__init__(owner, where, source["data"])
        self.group, self.file = where, owner.sealed.checksum

        def column(name: str) -> torch.Tensor:
            return torch.from_numpy(owner.guard(lambda: source[name][()], f"{where}/{name}"))

        self.exposure, self.temperature, self.time = map(column, ("exposure", "temperature", "time"))
        self.mean, self.saturated = map(column, ("mean", "saturated"))
        self.label = column("label") if "label" in source else None
        self.position = column("position") if "position" in source else None
        self.shown: Pictures | None = None
        if "shown" in source:
            white = 255.0 if source["shown"].dtype == np.uint8 else 1.0
            self.shown = Pictures(owner, f"{where}/shown", source["shown"], white)
        self.name: list[str] | None = None
        if "name" in source:
            self.name = owner.guard(
                lambda: [v.decode() for v in source["name"][()].tolist()], f"{where}/name"
            )


class MeasuredData:
    """A file of measured data, open for reading; the original is never modified.

    The file is refused if it is damaged, or if `check` finds fault with what was measured. A finding that
    you know of and can live with is accepted by its kind. Damage is never accepted: blocks of the file are
    checked when they are read, so a flipped byte in a frame raises when that frame is asked for.

    Args:
        path: a file made by `write` or `import_folder`.
        accept: kind of findings to live with, or several: ``dark``, ``exposure``, ``labels``, ``saturated``,
            ``values``.

    Attributes:
        scenes: what the camera saw.
        dark, flat, psf: the frames beside them, or None.
        kind, bits, saturation, camera, mask, wavelength, notes: as written (bits, saturation and wavelength
            None if unknown).

    Raises:
        InvalidArgument: no path, or faults to accept that there are not.
        DataMissing: there is no such file.
        DataError: the file is damaged or faulty; the message names the file and the place.
    """

    def __init__(self, path: str | Path, accept: str | Collection[str] = ()) -> None:
        accept = (accept,) if isinstance(accept, str) else accept
        for name in accept:
            checks.choice("accept", name, FAULTS)
        self.path, self.accept = as_path(path), tuple(accept)
        self._open()
        found = [f for f in faults(self.scenes, self.dark, self.flat, self.psf) if f.kind not in self.accept]
        if found:
            self.close()
            raise DataError(f"{self.path}: {found[0]}; accept={found[0].kind!r} reads it nevertheless")

    def _open(self) -> None:
        import h5py

        self.sealed = SealedFile(self.path)
        try:
            self._file = self.guard(lambda: h5py.File(self.sealed, "r"), "the file")
            attributes = self.guard(lambda: validate(self._file), "the file's structure")
            self.kind, self.camera = attributes["kind"], attributes["camera"]
            self.mask, self.notes = attributes["mask"], attributes["notes"]
            self.bits = attributes["bits"] or None
            self.saturation = attributes["saturation"]
            self.wavelength = attributes["wavelength"]
            groups = self.guard(
                lambda: {n: Frames(self, n, self._file[n]) if n in self._file else None for n in GROUPS},
                "the file's structure",
            )
        except BaseException:
            self.close()
            raise
        self.scenes: Frames = groups["scenes"]
        self.dark, self.flat, self.psf = groups["dark"], groups["flat"], groups["psf"]

    def guard(self, action: Callable[[], Any], where: str) -> Any:
        """Run what touches HDF5; whatever goes wrong in there is a fault of the file."""
        self.sealed.damage = None  # another place of the file may be good
        try:
            result = action()
        except DataError as error:
            text = str(error).removeprefix(f"{self.path}: ")  # of a guarded action within this one
            raise DataError(f"{self.path}: {text}") from None
        except Exception as error:  # of whatever type h5py raises
            reason = self.sealed.damage or f"not readable as HDF5: {error}"
            raise DataError(f"{self.path}: {where}: {reason}") from None
        if self.sealed.damage:  # a library that swallowed the error
            raise DataError(f"{self.path}: {where}: {self.sealed.damage}")
        return result

    def locate(self, first: int, after: int) -> list[str]:
        """Which frames lie in bytes ``first`` to ``after - 1`` of the file, in words."""
        places = []
        for name in GROUPS:
            if name in self._file:
                for key, what in (("data", name), ("shown", f"{name}/shown")):
                    if key in self._file[name]:
                        rows = _rows_within(self._file[name][key], first, after)
                        if rows:
                            places.append(f"{what}, frames {rows[0]} to {rows[1]}")
        return places

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            self._file.close()
        self.sealed.close()

    def __enter__(self) -> MeasuredData:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "accept": self.accept}  # workers open the file for themselves

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{n} {tuple(g.shape)}" for n in GROUPS if (g := getattr(self, n)) is not None)
        return f"MeasuredData({str(self.path)!r}: {self.kind}, {sizes})"


def _within(owner: MeasuredData, where: str) -> Any:
    return attrgetter(where.replace("/", "."))(owner)


def _rows_within(data: Any, first: int, after: int) -> tuple[int, int] | None:
    """First and last row of a data set whose chunks lie in bytes ``first`` to ``after - 1``."""
    rows = list[int]()

    def visit(chunk: Any) -> None:
        if chunk.byte_offset < after and chunk.byte_offset + chunk.size > first:
            rows.append(chunk.chunk_offset[0])

    data.id.chunk_iter(visit)
    return (min(rows), min(max(rows) + data.chunks[0], data.shape[0]) - 1) if rows else None
