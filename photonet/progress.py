"""Progress bars for whatever takes longer than a glance; silent where nobody looks (no terminal)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["track"]

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a bar on standard error when that is a terminal.

    Args:
        items: what to iterate over.
        description: what is being done, in a few words.
        total: number of items, where ``len`` does not tell.

    Example:
        >>> sum(track([1, 2, 3], "adding"))
        6
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as bar

    yield from bar(items, description, total=total, console=Console(stderr=True), transient=True)
