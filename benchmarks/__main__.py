"""``python -m benchmarks``: run the cases on one thread, print one table, write it as JSON and as a page.

Cases that do not run (``--only``) keep what the JSON file holds of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import photonet
from photonet.files import write_text

from . import collect

BEGIN, END = "<!-- begin: written by python -m benchmarks --page -->", "<!-- end -->"
PEERS = ("numpy", "scipy", "torchoptics", "LightPipes", "prysm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results.json"), help="JSON file to write"
    )
    parser.add_argument("--page", type=Path, help="also write the tables into this page of the docs")
    parser.add_argument("--only", default="", help="run only the cases with this text in their name")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console()
    table = Table(title="Benchmarks of photonet (multiples of the first contestant)", title_justify="left")
    for heading in ("case", "yardstick", "ms", "ratios", "target", "met"):
        table.add_column(heading)
    records = []
    for one in collect():
        if arguments.only.lower() not in one.name.lower():
            continue
        contest = one.function()
        ratios = contest.ratios()
        names = list(ratios)
        met = ratios[names[1]] <= one.target
        first = contest.seconds[names[0]]
        others = ", ".join(f"{name} {ratio:.2f}" for name, ratio in list(ratios.items())[1:])
        table.add_row(
            one.name,
            names[0],
            f"{statistics.median(first) * 1e3:.1f}",
            "; ".join([others, *contest.notes]),
            f"{one.target:g}",
            "[green]yes[/green]" if met else "[red]NO[/red]",
        )
        records.append(
            {
                "name": one.name,
                "target": one.target,
                "met": met,
                "ratios": {k: round(r, 4) for k, r in ratios.items()},
                "milliseconds": {k: [round(1e3 * t, 4) for t in v] for k, v in contest.seconds.items()},
                "notes": contest.notes,
                "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            }
        )
    console.print(table)
    versions = {
        "photonet": photonet.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    for peer in PEERS:
        try:
            versions[peer] = importlib.metadata.version(peer)
        except importlib.metadata.PackageNotFoundError:
            versions[peer] = "not installed"
    machine = {
        "threads": arguments.threads,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "cpu": _cpu(),
    }
    if arguments.out.exists():
        done = {r["name"] for r in records}
        kept = json.loads(arguments.out.read_text(encoding="utf-8"))["cases"]
        records = [r for r in kept if r["name"] not in done] + records
    record = {"versions": versions, "machine": machine, "cases": records}
    write_text(arguments.out, json.dumps(record, indent=1) + "\n")
    if arguments.page:
        before, rest = arguments.page.read_text(encoding="utf-8").split(BEGIN)
        write_text(arguments.page, before + BEGIN + "\n" + page(record) + END + rest.split(END)[1])
    console.print(f"written to {arguments.out}")
    return 0 if records else 1


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def page(record: dict[str, Any]) -> str:
    """The results as Markdown: one table of targets, and one of the peers."""
    machine, versions = record["machine"], record["versions"]
    loads = [c["load"] for c in record["cases"] if c["load"] is not None]
    lines = [
        "",
        f"Measured on {machine['cpu']} ({machine['machine']}), {machine['threads']} thread of "
        f"{machine['cores']} cores, load {min(loads, default=0):g} to {max(loads, default=0):g}, with "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "| case | yardstick | measured | target | met |",
        "| --- | --- | --- | --- | --- |",
    ]
    peers = ["", "| case | contestant | multiple of bare |", "| --- | --- | --- |"]
    for c in record["cases"]:
        (yardstick, _), (_, ours), *others = c["ratios"].items()
        met = "yes" if c["met"] else "**no**"
        lines.append(f"| {c['name']} | {yardstick} | {ours:.2f} | {c['target']:g} | {met} |")
        peers += [f"| {c['name']} | {name} | {ratio:.2f} |" for name, ratio in others]
        peers += [f"| {c['name']} | {note} | |" for note in c["notes"]]
    return "\n".join([*lines, *(peers if len(peers) > 3 else []), "", ""])


if __name__ == "__main__":
    sys.exit(main())
