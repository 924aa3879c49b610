"""Where the user keeps data sets, and what to say when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataMissing

VARIABLE = "PHOTONET_DATA"


def find(name: str, wanted: list[str], folder: str | Path | None, origin: str) -> Path:
    """The first of the paths ``wanted`` that exists under the user's folder.

    Args:
        name: of the data set, for the error.
        wanted: paths relative to the folder, the preferred one first.
        folder: the user's argument; None means the folder in the environment variable.
        origin: where to get the data, for the error.

    Raises:
        DataMissing: no folder named, no such folder, or none of the files in it.
    """
    how = f"put {' or '.join(wanted)} ({origin}) into a folder, and pass folder=... or set {VARIABLE} to it"
    said = "the argument folder" if folder is not None else VARIABLE
    place = folder if folder is not None else os.environ.get(VARIABLE)
    if not place:
        raise DataMissing(f"{name}: no data folder is known; {how}")
    root = Path(place).expanduser()
    if not root.is_dir():
        raise DataMissing(f"{name}: {said} names {root}, which is not a folder; {how}")
    for path in wanted:
        if (root / path).exists():
            return root / path
    raise DataMissing(f"{name}: not in {root} (from {said}); {how}")
