"""``python -m benchmarks``: run the cases on one thread, print one table, write it as JSON."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import photonet
from photonet.files import write_text

from . import collect

PEERS = ("numpy", "scipy", "torchoptics", "LightPipes", "prysm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results.json"), help="JSON file to write"
    )
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
                "ratios": ratios,
                "milliseconds": {k: [1e3 * s for s in v] for k, v in contest.seconds.items()},
                "notes": contest.notes,
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
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    machine = {
        "threads": arguments.threads,
        "cores": os.cpu_count(),
        "load": load,
        "machine": platform.machine(),
    }
    record = {"versions": versions, "machine": machine, "cases": records}
    write_text(arguments.out, json.dumps(record, indent=2) + "\n")
    console.print(f"load {', '.join(f'{x:.2f}' for x in load)} on {os.cpu_count()} cores; {arguments.out}")
    return 0 if records else 1


if __name__ == "__main__":
    sys.exit(main())
