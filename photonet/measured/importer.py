"""Measured data from a folder of pictures: PNG or TIFF files and one CSV table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, DataMissing, InvalidArgument
from .schema import GROUPS
from .writer import Part, write

__all__ = ["import_folder"]

TABLE = "frames.csv"
COLUMNS = (
    "file",
    "group",
    "exposure",
    "shown",
    "name",
    "label",
    "label_map",
    "temperature",
    "time",
    "y",
    "x",
)
NEEDED = ("file", "exposure")
BATCH_BYTES = 64 << 20
MODES = ("L", "I;16", "I;16B", "I")
"""What Pillow calls grey pictures of 8, 16, and (for 16 bits too, in some versions) 32 bits."""

PNG_BITS = 24
"""Byte of a PNG that holds the bits of a sample."""

WHITE_OR_BLACK = 262
"""TIFF's tag for what zero means, which Pillow minds for 8 bits and not for 16."""

UNKNOWN_CLASS = 255
"""Value of a pixel without a class in a picture of labels."""

Row = dict[str, str]


def import_folder(
    folder: str | Path,
    path: str | Path,
    *,
    bits: int | None = None,
    saturation: float | None = None,
    camera: str = "",
    mask: str = "",
    wavelength: Any = None,
    notes: str = "",
    overwrite: bool = False,
) -> None:
    """Build a file of measured data from pictures and ``frames.csv``, which has one row per picture.

    Columns: ``file`` (in the folder) and ``exposure`` (s) are needed; ``group`` (scenes, dark, flat or psf;
    scenes when left out), ``shown`` (the picture on the display, 8 bits), ``name``, ``label`` (whole number,
    empty where missing) or ``label_map`` (a picture of the classes of all pixels, 8 bits, 255 where missing),
    ``temperature`` (degrees C), ``time`` (s since 1970, or ISO 8601 with its time zone), and for point
    sources ``y`` and ``x`` (m) may be given. The pictures are one-channel PNG or TIFF of 8 or 16 bits, of a
    column all of one size. They are read one by one and never modified.

    Args:
        folder: where the pictures and the table lie.
        path: the file to write.
        bits, saturation, camera, mask, wavelength, notes: as in `write`.
        overwrite: replace a file that is there; otherwise it is kept and the import refused.

    Raises:
        InvalidArgument: the file to write is already there.
        DataMissing: the folder, the table or a picture is not there.
        DataError: a row or a picture cannot be used; the message names the row and the file.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a", "b"):
        ...     Image.fromarray(np.full((4, 5), 1000, dtype=np.uint16)).save(folder / f"{name}.png")
        >>> _ = (folder / "frames.csv").write_text("file,exposure,label\\na.png,1e-3,7\\nb.png,1e-3,2\\n")
        >>> import_folder(folder, folder / "device.h5", bits=12)
        >>> from photonet.measured import MeasuredData
        >>> with MeasuredData(folder / "device.h5") as measured:
        ...     print(measured.scenes.shape, measured.scenes.label.tolist())
        torch.Size([2, 4, 5]) [7, 2]
    """
    if Path(path).exists() and not overwrite:
        raise InvalidArgument("path", "a file that is not there yet", path, "overwrite=True replaces it")
    folder = Path(folder)
    table = folder / TABLE
    if not table.is_file():
        raise DataMissing(
            f"there is no table {table}; it has a row per picture with the columns {', '.join(NEEDED)}"
        )
    groups = _read_table(table)
    maps = _filled_in(table, groups["scenes"], "label_map")
    if maps and _have_any(groups["scenes"], "label"):
        raise DataError(f"{table}: has labels and label maps; one of them is wanted")
    size = _read_picture(folder, *groups["scenes"][0]).shape
    parts = {
        name: Part(
            data=_pictures(folder, rows, "file", size),
            shown=_shown(folder, rows) if _filled_in(table, rows, "shown") else None,
            exposure=_numbers(table, rows, "exposure"),
            temperature=_numbers(table, rows, "temperature"),
            time=_numbers(table, rows, "time"),
            label=(_label_maps(folder, rows) if maps else _labels(table, rows)) if name == "scenes" else None,
            name=[row["name"] for _, row in rows] if _have_any(rows, "name") else None,
            position=_positions(table, rows) if name == "psf" else None,
        )
        for name, rows in groups.items()
    }
    write(
        path,
        parts["scenes"],
        dark=parts.get("dark"),
        flat=parts.get("flat"),
        psf=parts.get("psf"),
        bits=bits,
        saturation=saturation,
        camera=camera,
        mask=mask,
        wavelength=wavelength,
        notes=notes,
    )


def _read_table(table: Path) -> dict[str, list[tuple[int, Row]]]:
    """Rows with their line numbers, by group."""
    groups: dict[str, list[tuple[int, Row]]] = {}
    try:
        with open(table, newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f, skipinitialspace=True, strict=True)
            header = [str(name).strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            missing = [name for name in NEEDED if name not in header]
            if missing:
                raise DataError(f"{table}: there is no column {missing[0]!r}")
            unknown = [name for name in header if name not in COLUMNS]
            if unknown or len(set(header)) != len(header):
                raise DataError(f"{table}: expected columns of {', '.join(COLUMNS)}, each once, got {header}")
            for raw in reader:
                line = reader.line_num
                if None in raw or None in raw.values():
                    raise DataError(f"{table}, line {line}: expected {len(header)} values")
                row = {name: (raw.get(name) or "").strip() for name in COLUMNS}
                if "\0" in "".join(row.values()):
                    raise DataError(f"{table}, line {line}: holds a zero byte")
                group = row["group"] or "scenes"
                if group not in GROUPS:
                    raise DataError(f"{table}, line {line}: group {group!r} is none of {', '.join(GROUPS)}")
                groups.setdefault(group, []).append((line, row))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table}: not a CSV table: {error}") from None
    if "scenes" not in groups:
        raise DataError(f"{table}: there is no scene in it")
    return groups


def _have_any(rows: list[tuple[int, Row]], column: str) -> bool:
    return any(row[column] for _, row in rows)


def _filled_in(table: Path, rows: list[tuple[int, Row]], column: str) -> bool:
    """Whether a column is filled in, for all of the rows or for none."""
    if not _have_any(rows, column):
        return False
    for line, row in rows:
        if not row[column]:
            raise DataError(f"{table}, line {line}: no {column}, but other rows have one")
        if row["group"] not in ("", "scenes"):
            raise DataError(f"{table}, line {line}: a {column}, but only scenes have one")
    return True


def _pictures(
    folder: Path, rows: list[tuple[int, Row]], column: str, size: tuple[int, ...]
) -> Iterator[np.ndarray]:
    many = max(1, BATCH_BYTES // (2 * size[0] * size[1]))
    for start in range(0, len(rows), many):
        batch = []
        for line, row in rows[start : start + many]:
            picture = _read_picture(folder, line, row, column)
            if picture.shape != size:
                raise DataError(
                    f"{folder / row[column]} (line {line}): {picture.shape[0]} x {picture.shape[1]} pixels, "
                    f"but the first scene has {size[0]} x {size[1]}"
                )
            batch.append(picture)
        yield np.stack(batch)


def _bytes(folder: Path, rows: list[tuple[int, Row]], column: str) -> Iterator[np.ndarray]:
    """Pictures of 8 bits, as such."""
    size = _read_picture(folder, *rows[0], column).shape
    for batch in _pictures(folder, rows, column, size):
        if batch.max() > 255:
            raise DataError(
                f"{folder}: {column}: expected pictures of 8 bits, got values up to {batch.max()}"
            )
        yield batch.astype(np.uint8)


def _shown(folder: Path, rows: list[tuple[int, Row]]) -> Iterator[np.ndarray]:
    return (batch[:, None] for batch in _bytes(folder, rows, "shown"))


def _label_maps(folder: Path, rows: list[tuple[int, Row]]) -> np.ndarray:
    maps = np.concatenate(list(_bytes(folder, rows, "label_map"))).astype(np.int64)
    return np.where(maps == UNKNOWN_CLASS, -1, maps)


def _read_picture(folder: Path, line: int, row: Row, column: str = "file") -> np.ndarray:
    from PIL import Image

    path = folder / row[column]
    where = f"{path} (line {line})"
    if not row[column] or not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{where}: expected a file in the folder")
    if not path.is_file():
        raise DataMissing(f"there is no picture {where}")
    try:
        with Image.open(path, formats=["PNG", "TIFF"]) as image:
            frames, mode = getattr(image, "n_frames", 1), image.mode
            if frames != 1 or mode not in MODES:
                raise DataError(f"{where}: expected one grey picture, got {frames} of mode {mode}")
            if (
                image.format == "TIFF"
                and mode != "L"
                and getattr(image, "tag_v2", {}).get(WHITE_OR_BLACK, 1) != 1
            ):
                raise DataError(f"{where}: expected black at zero, got a TIFF whose zero is white")
            picture = np.array(image)
        if image.format == "PNG":
            with path.open("rb") as file:
                bits = file.read(PNG_BITS + 1)[-1]
            if bits not in (8, 16):
                raise DataError(f"{where}: expected 8 or 16 bits, got {bits}, which would be stretched")
        if picture.min() < 0 or picture.max() > 65535:
            raise DataError(f"{where}: expected at most 16 bits, got values up to {picture.max()}")
        return picture.astype(np.uint16)
    except DataError:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged picture
        raise DataError(f"{where}: cannot be read as a picture: {error}") from None


def _numbers(table: Path, rows: list[tuple[int, Row]], column: str) -> np.ndarray:
    values = np.full(len(rows), np.nan)
    for i, (line, row) in enumerate(rows):
        text = row[column]
        if not text:
            if column in NEEDED:
                raise DataError(f"{table}, line {line}: no {column}")
            continue
        try:
            values[i] = _seconds(text) if column == "time" else float(text)
        except ValueError:
            what = "seconds or ISO 8601 with a time zone" if column == "time" else "a number"
            raise DataError(f"{table}, line {line}: {column} {text!r} is not {what}") from None
        if np.isinf(values[i]):
            raise DataError(f"{table}, line {line}: {column} {text!r} is not finite")
        if column == "exposure" and not 0 < values[i] < np.inf:
            raise DataError(f"{table}, line {line}: exposure {text!r} is not a positive time in s")
    return values


def _seconds(text: str) -> float:
    try:
        if len(text) == len("20240102") and text.isdecimal() and text[:2] in ("19", "20"):
            raise ValueError("a date without a time zone")
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:  # the result would depend on where it is imported
            raise ValueError("no time zone") from None
        return moment.timestamp()


def _labels(table: Path, rows: list[tuple[int, Row]]) -> np.ndarray | None:
    """Labels with -1 where the cell is empty; None when all are."""
    if not any(row["label"] for _, row in rows):
        return None
    labels = np.full(len(rows), -1, dtype=np.int64)
    for i, (line, row) in enumerate(rows):
        if row["label"]:
            if not row["label"].isdecimal() or len(row["label"]) > 18:
                raise DataError(f"{table}, line {line}: label {row['label']!r} is not a whole number from 0")
            labels[i] = int(row["label"])
    return labels


def _positions(table: Path, rows: list[tuple[int, Row]]) -> np.ndarray | None:
    position = np.stack([_numbers(table, rows, axis) for axis in ("y", "x")], 1)
    if np.isnan(position).all():
        return None
    if not np.isfinite(position).all():
        raise DataError(f"{table}: point sources need both y and x, or none of them either")
    return position
