"""Progress bars for whatever takes longer than a glance; silent where nobody looks (no terminal)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bar", "track"]

T = TypeVar("T")

_shown: list[Progress] = []
"""The display on the terminal, if there is one: bars within bars are further lines of it."""


@contextlib.contextmanager
def bar(description: str, total: int | None = None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar on standard error when that is a terminal.

    Args:
        description: what is being done, in a few words.
        total: number of steps, if it is known.
        done: steps done before.

    Yields:
        The function that advances it by a number of steps.

    Example:
        >>> with bar("measuring", total=4) as advance:
        ...     advance(4)
    """
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if _shown:
        display = _shown[0]
        task = display.add_task(description, total=total, completed=done)
        try:
            yield lambda steps: display.advance(task, steps)
        finally:
            display.remove_task(task)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(description, total=total, completed=done)
        _shown.append(display)
        try:
            yield lambda steps: display.advance(task, steps)
        finally:
            _shown.clear()


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
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
