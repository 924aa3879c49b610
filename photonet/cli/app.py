"""The table of commands, and `main`, which turns errors of the user into one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import PhotonetError
from .info import info
from .materials import materials
from .measured import app as measured
from .quickstart import quickstart

__all__ = ["app", "main"]

USER_ERROR = 2

app = typer.Typer(
    help="Hybrid optical neural networks: from an optical design to a corrected, fabricated device.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(quickstart)
app.command()(info)
app.add_typer(measured, name="measured")
app.command()(materials)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"photonet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 a mistake of the user, 130 interrupted.

    A mistake of the user (an error of `photonet.errors`, a wrong option, a file that cannot be read or
    written) is one line on stderr; anything else is a mistake of ours and keeps its traceback.

    Args:
        arguments: what follows the program's name; None means those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        sys.exit(app(args=arguments or ["--help"], prog_name="photonet", standalone_mode=False))
    except typer.TyperException as error:
        _give_up(error.format_message())
    except PhotonetError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))


def _give_up(message: str) -> NoReturn:
    typer.echo(f"photonet: {' '.join(message.split())}", err=True)
    sys.exit(USER_ERROR)
