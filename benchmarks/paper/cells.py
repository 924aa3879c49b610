"""One JSON file per table, made of cells; a cell that is there is not computed again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from photonet.files import write_text
from photonet.provenance import provenance

__all__ = ["Cells"]


class Cells:
    """The results of a table in one file, written after every cell.

    Args:
        path: of the JSON file; made with the first cell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def get(
        self, name: str, config: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The cell ``name``: read when it was computed with these settings, computed and kept otherwise.

        Args:
            name: of the cell, unique in the table.
            config: everything that decides its result, in plain values.
            compute: no arguments to plain values.
        """
        config = json.loads(json.dumps(config))
        known = self.cells.get(name)
        if known is not None and known["settings"] == config:
            return known
        start, cpu = time.time(), time.process_time()
        found = compute()
        self.cells[name] = {
            **found,
            "settings": config,
            "seconds": round(time.time() - start, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            **provenance(),
        }
        write_text(self.path, json.dumps(self.cells, indent=1, sort_keys=True) + "\n")
        return self.cells[name]
