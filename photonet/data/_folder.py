"""Where the user keeps data sets, and what to say when they are not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataMissing, InvalidArgument

FOLDER_VARIABLE = "PHOTONET_DATA"


@dataclass(frozen=True)
class Source:
    """Paths in the user's folder at which a data set may lie, the preferred first, and what to put there."""

    files: tuple[str, ...]
    wanted: str


def find(name: str, source: Source, folder: str | Path | None) -> Path:
    """The first file of ``source`` that exists under the user's folder.

    Args:
        name: of the data set, for the error.
        source: what to look for.
        folder: the user's argument; None means the folder in the environment variable.

    Raises:
        InvalidArgument: a folder that is no path.
        DataMissing: no folder named, no such folder, or none of the files in it.
    """
    if folder is not None and not isinstance(folder, (str, os.PathLike)):
        raise InvalidArgument("folder", "the path of a folder", repr(folder)[:80])
    how = f"put {source.wanted} into a folder, and pass folder=... or set {FOLDER_VARIABLE} to it"
    said = "the argument folder" if folder is not None else FOLDER_VARIABLE
    place = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not place:
        raise DataMissing(f"{name}: no data folder is known; {how}")
    root = Path(place).expanduser()
    if not root.is_dir():
        raise DataMissing(f"{name}: {said} names {root}, which is not a folder; {how}")
    for file in source.files:
        if (root / file).exists():
            return root / file
    raise DataMissing(f"{name}: not in {root} (from {said}); {how}")
