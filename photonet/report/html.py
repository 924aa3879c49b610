"""One self-contained HTML file: pictures are embedded, nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from .. import checks
from ..errors import InvalidArgument
from ..files import atomic_path, writable, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Section", "write_report"]

DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Args:
        title: heading.
        text: paragraphs, separated by empty lines.
        name: file name of the picture, without its ending; a section with a figure needs one of its own.
        figure: a matplotlib figure.
        table: rows of cells; the first row is the head.
    """

    title: str
    text: str = ""
    name: str = ""
    figure: Figure | None = None
    table: Sequence[Sequence[str]] = ()


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the report, and each figure as a PNG beside it.

    Args:
        path: the HTML file; the pictures go into its folder.
        title: of the page.
        sections: from top to bottom.

    Returns:
        The path.

    Raises:
        InvalidArgument: something else than sections, figures without a name or of one name, or a path
            that cannot be written.

    Example:
        >>> import tempfile
        >>> file = write_report(Path(tempfile.mkdtemp()) / "report.html", "A & B", [Section("One", "Text.")])
        >>> "<h1>A &amp; B</h1>" in file.read_text()
        True
    """
    from jinja2 import Environment

    path = writable(path)
    for section in sections:
        checks.instance("sections", section, Section, "a Section in each place")
    _check_names([section for section in sections if section.figure is not None])
    template = resources.files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    blocks = []
    for section in sections:
        picture = ""
        if section.figure is not None:
            png = _png(section.figure)
            with atomic_path(path.parent / f"{section.name}.png") as temporary:
                temporary.write_bytes(png)
            picture = base64.b64encode(png).decode()
        paragraphs = [p for p in section.text.split("\n\n") if p.strip()]
        blocks.append(
            {"title": section.title, "paragraphs": paragraphs, "picture": picture, "table": section.table}
        )
    page = Environment(autoescape=True).from_string(template).render(title=title, sections=blocks)
    write_text(path, page)
    return path


def _check_names(pictures: Sequence[Section]) -> None:
    """Refuse pictures that would have no file, or overwrite one another's."""
    titles: dict[str, str] = {}
    for section in pictures:
        if not section.name:
            got = f"none for that of {section.title!r}"
            raise InvalidArgument("sections", "a file name for each figure", got, "pass Section(name=)")
        if section.name in titles:
            got = f"{section.name!r} for both {titles[section.name]!r} and {section.title!r}"
            raise InvalidArgument("sections", "another name for each figure", got)
        titles[section.name] = section.title


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # without the date in the file, equal results give equal files
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
