"""``python -m validation``: run the cases, print one table, write it as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import photonet
from photonet.files import write_text

from . import Result, collect, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("validation/results.json"), help="JSON file to write"
    )
    parser.add_argument("--page", type=Path, help="also write the table as a page of the docs")
    parser.add_argument("--only", default="", help="run only the cases with this text in room or name")
    parser.add_argument("--fast", action="store_true", help="leave out the slow cases")
    arguments = parser.parse_args()
    wanted = arguments.only.lower()
    cases = [
        c for c in collect() if wanted in f"{c.room} {c.name}".lower() and not (arguments.fast and c.slow)
    ]
    console = Console()
    results = []
    for number, one in enumerate(cases, 1):
        if console.is_terminal:
            console.print(f"[dim]{number}/{len(cases)} {one.name}[/dim]", end="\r")
        results.append(run(one))
    console.print(table(results))
    versions = {
        "photonet": photonet.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    record = {"versions": versions, "cases": [_plain(r) for r in results]}
    write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    if arguments.page:
        write_text(arguments.page, page(results, versions))
    failed = sum(r.passed is False for r in results)
    skipped = sum(r.passed is None for r in results)
    console.print(
        f"{len(results) - failed - skipped} passed, {failed} failed, {skipped} skipped; {arguments.out}"
    )
    return 1 if failed or not results else 0


def table(results: list[Result]) -> Table:
    """The results as a rich table."""
    grid = Table(title="Validation of photonet", title_justify="left")
    for heading in ("room", "case", "reference", "error", "bound", "pass"):
        grid.add_column(heading, justify="right" if heading in ("error", "bound") else "left")
    marks = {True: "[green]yes[/green]", False: "[red]NO[/red]", None: "skipped"}
    for r in results:
        error = r.note if r.passed is None else f"{r.error:.1e}"
        grid.add_row(r.room, r.name, r.reference, error, f"{r.bound:.1e}", marks[r.passed])
    return grid


def page(results: list[Result], versions: dict[str, str]) -> str:
    """The results as a page of the docs."""
    lines = [
        "# Validation",
        "",
        "Agreement with theory, direct sums and other programs, on default settings. Written by",
        "`python -m validation --page docs/explanation/validation.md` with "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "| room | case | reference | error | bound |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in results:
        error = (
            f"skipped: {r.note}" if r.passed is None else f"{r.error:.1e}" + ("" if r.passed else " (fails)")
        )
        lines.append(f"| {r.room} | {r.name} | {r.reference} | {error} | {r.bound:.1e} |")
    return "\n".join(lines) + "\n"


def _plain(result: Result) -> dict[str, object]:
    record = dataclasses.asdict(result)
    if not math.isfinite(result.error):
        record["error"] = None  # JSON knows no NaN
    return record


if __name__ == "__main__":
    sys.exit(main())
