"""``photonet quickstart``: the whole road on real pictures, in minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["quickstart"]


def quickstart(
    data: Annotated[str, typer.Option(help="digits (bundled) or mnist (from a folder).")] = "digits",
    folder: Annotated[Path | None, typer.Option(help="Folder of the data; default: PHOTONET_DATA.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report, tables and weights.")] = Path(
        "runs/quickstart"
    ),
    seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    seeds: Annotated[int, typer.Option(help="Number of repetitions.")] = 3,
    train: Annotated[int, typer.Option(help="Most training pictures.")] = 10_000,
    devices: Annotated[int, typer.Option(help="Devices of the tolerance study.")] = 24,
) -> None:
    """Distil a teacher into an optical student, design its masks, fabricate, measure and correct it."""
    from ..quickstart import QuickstartConfig
    from ..quickstart import quickstart as run
    from ..quickstart.report import yield_lines
    from ..report import mean_and_spread, text_table

    config = QuickstartConfig(data=data, seed=seed, seeds=seeds, train=train, devices=devices)
    start = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - start:5.0f} s] {text}", err=True)

    results, study, _ = run(config, out, folder=folder, say=say)
    typer.echo(text_table(mean_and_spread(results["accuracy"]), ("network", "test accuracy (%)")))
    for line in yield_lines(study):
        typer.echo(line)
    typer.echo(f"report: {out / 'report.html'}")
