"""``photonet materials``: the data files that come with the package, and where their numbers are from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["kinds", "materials"]


def kinds() -> dict[str, Path]:
    """The kinds of data files, and the folder of each."""
    from .. import materials

    root = materials.path("dispersion", "SiO2").parents[1]
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}


def materials(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, for example dispersion.")] = None,
    name: Annotated[str | None, typer.Argument(help="Show this file, with its sources.")] = None,
) -> None:
    """List the data files (materials, cameras, meta-atoms, processes), or show one."""
    from .. import materials as files

    if kind is not None and name is not None:
        typer.echo(files.path(kind, name).read_text(encoding="utf-8").rstrip())
        return
    wanted = list(kinds()) if kind is None else [kind]
    rows = [(one, entry, files.read(one, entry)) for one in wanted for entry in files.names(one)]
    width = max(len(f"{one} {entry}") for one, entry, _ in rows)
    for one, entry, table in rows:
        typer.echo(f"{f'{one} {entry}':{width}}  {table.get('description', table['name'])}")
