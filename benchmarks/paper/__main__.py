"""Command line: ``python -m benchmarks.paper mnist --data FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import camvid, cifar10, eq11, mnist, search, search_wider, table4, table5
from .page import write_page

TABLES = {
    "mnist": (mnist.run, 5),
    "cifar10": (cifar10.run, 3),
    "camvid": (camvid.run, 3),
    "search": (search.run, 5),
    "search-devices": (search_wider.run_devices, 5),
    "search-pixels": (search_wider.run_pixels, 3),
    "table4": (table4.run, 3),
    "table5": (table5.run, 5),
    "eq11": (eq11.run, 3),
}
"""Table -> what computes it, seeds."""

parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
parser.add_argument("table", choices=[*TABLES, "page"])
parser.add_argument("--data", help="folder of the data sets; default: PHOTONET_DATA")
parser.add_argument("--seeds", type=int, help="paired repetitions; default: as published here")
parser.add_argument("--threads", type=int, default=1, help="threads of torch; other numbers round otherwise")
parser.add_argument(
    "--out", type=Path, default=Path("benchmarks/paper/results"), help="folder of the JSON files"
)
parser.add_argument("--work", type=Path, default=Path("runs/paper"), help="teachers' weights and checkpoints")
parser.add_argument("--page", type=Path, default=Path("docs/explanation/published-tables.md"))
given = parser.parse_args()
torch.set_num_threads(given.threads)
if given.table != "page":
    run, seeds = TABLES[given.table]
    run(given.data, given.seeds or seeds, given.out, given.work)
write_page(given.out, given.page)
