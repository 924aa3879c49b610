"""What is wrong with a file of measured data, in words."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError, DataMissing
from .container import SealedFile
from .doubts import doubts
from .faults import FAULTS, Finding, faults
from .reader import MeasuredData

__all__ = ["check"]


def check(path: str | Path) -> list[Finding]:
    """Read the whole file and say what is wrong with it; an empty list means nothing is.

    Args:
        path: a file made by `write` or `import_folder`. It is never modified.

    Returns:
        Damage first (with the frames it concerns, where that can still be told), then faults of what
        was measured, then doubts: findings of the kind ``doubt`` do not keep `MeasuredData` from reading.

    Raises:
        InvalidArgument: no path.
        DataMissing: there is no such file.

    Example:
        >>> import tempfile, torch
        >>> from photonet.measured import Part, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> write(path, Part(torch.full((3, 4, 4), 4095), exposure=1e-3), bits=12)
        >>> print(check(path)[0])
        scenes, frames 0 to 2: saturated in 100 % of the pixels
    """
    try:
        with SealedFile(path) as sealed:
            bad = [i for i in range(sealed.blocks) if not sealed.is_good(i)]
            ranges = [sealed.block_range(i) for i in bad]
    except DataMissing:
        raise
    except DataError as error:
        return [Finding("damage", str(path), str(error).removeprefix(f"{path}: "))]
    found = [Finding("damage", "the file", _mismatch(*range_)) for range_ in ranges]
    try:
        with MeasuredData(path, accept=FAULTS) as measured:
            found = [_placed(measured, *range_) for range_ in ranges]
            found += faults(measured.scenes, measured.dark, measured.flat, measured.psf)
            return found if ranges else found + doubts(measured)
    except DataError as error:  # in the structure, so that nothing more can be told
        return found or [Finding("damage", str(path), str(error).removeprefix(f"{path}: "))]


def _placed(measured: MeasuredData, first: int, after: int) -> Finding:
    try:
        places = measured.guard(lambda: measured.locate(first, after), "the list of chunks")
    except DataError:
        places = []
    return Finding("damage", "; ".join(places) or "the file", _mismatch(first, after))


def _mismatch(first: int, after: int) -> str:
    return f"bytes {first} to {after - 1} do not match their checksum"
