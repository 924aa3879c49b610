"""Command line: ``python -m benchmarks.paper mnist --data FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .mnist import run

parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
parser.add_argument("table", choices=["mnist"])
parser.add_argument("--data", help="folder of the data sets; default: PHOTONET_DATA")
parser.add_argument("--images", type=int, default=10_000)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
parser.add_argument("--out", type=Path, default=Path("benchmarks/paper/results"))
given = parser.parse_args()
found = run(given.data, given.images, given.epochs, given.seeds, given.rates, given.out)
print(given.out.joinpath(f"mnist-{given.images}-{given.epochs}.md").read_text())
print(f"teacher: {100 * found['teacher']:.2f} %")
