"""What is wrong with a file of measured data, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataError, DataMissing
from .container import SealedFile
from .faults import FAULTS, Finding, faults
from .reader import MeasuredData

__all__ = ["check"]


def check(path: str | Path) -> list[Finding]:
    """Read the whole file and say what is wrong with it; an empty list means nothing is.

    Args:
        path: a file made by `write` or `import_folder`. It is never modified.

    Returns:
        Damage first (with the frames it concerns, where that can still be told), then faults of what
        was measured.

    Raises:
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
    found = [
        Finding("damage", f"bytes {first} to {after - 1}", "do not match their checksum")
        for first, after in ranges
    ]
    try:
        with MeasuredData(path, accept=FAULTS) as measured:
            found = [_placed(measured, first, after) for first, after in ranges]
            return found + faults(measured.scenes, measured.dark, measured.flat, measured.psf)
    except DataError as error:
        return found or [Finding("damage", str(path), str(error).removeprefix(f"{path}: "))]


def _placed(measured: MeasuredData, first: int, after: int) -> Finding:
    """Which frames lie in a damaged range of bytes."""
    message = f"bytes {first} to {after - 1} do not match their checksum"
    for name, dataset in measured.datasets():
        rows: list[int] = []

        def visit(chunk: Any, rows: list[int] = rows) -> None:
            if chunk.byte_offset < after and chunk.byte_offset + chunk.size > first:
                rows.append(chunk.chunk_offset[0])

        dataset.id.chunk_iter(visit)
        if rows:
            last = min(max(rows) + dataset.chunks[0], dataset.shape[0]) - 1
            return Finding("damage", f"{name}, frames {min(rows)} to {last}", message)
    return Finding("damage", "the file", message)
