"""``photonet measured``: check files of measured data, and make them from folders of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

FAULTY = 1

app = typer.Typer(help="Files of measured data: check one, or make one from pictures.", no_args_is_help=True)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A file of measured data.")]) -> None:
    """Say in words what is wrong with a file; exit 1 if anything is, doubts apart."""
    from ..measured import check as find

    findings = find(file)
    for finding in findings:
        typer.echo(f"{'doubt: ' if finding.kind == 'doubt' else ''}{finding}")
    if any(finding.kind != "doubt" for finding in findings):
        raise typer.Exit(FAULTY)
    typer.echo(f"{file}: nothing wrong")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="Folder of PNG or TIFF pictures with frames.csv.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    bits: Annotated[int | None, typer.Option(help="Resolution of the camera's converter.")] = None,
    saturation: Annotated[
        float | None,
        typer.Option(help="Grey value of a full pixel, where its well ends before the converter."),
    ] = None,
    camera: Annotated[str, typer.Option(help="Reference of the camera.")] = "",
    mask: Annotated[str, typer.Option(help="Reference of the mask.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Build a file of measured data from pictures and their table."""
    from ..measured import import_folder

    import_folder(
        folder, file, bits=bits, saturation=saturation, camera=camera, mask=mask, overwrite=overwrite
    )
    typer.echo(f"wrote {file}")


@app.command()
def calibrate(file: Annotated[Path, typer.Argument(help="A file of raw frames.")]) -> None:
    """Fit defects, dark signal, linearity, drift and flat field, and print the residuals of each."""
    from ..measured import MeasuredData
    from ..measured import calibrate as fit

    with MeasuredData(file) as data:
        typer.echo(str(fit(data)))
