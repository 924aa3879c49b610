"""Files that are either whole or not there: everything is written beside its place and renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import InvalidArgument

__all__ = ["as_path", "atomic_path", "writable", "write_text"]


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    If the block raises, or the process dies, ``path`` is as it was before. The temporary keeps the
    suffix, for writers that choose the format by it.

    Args:
        path: the file to write. Its folder is made if it is missing.

    Raises:
        InvalidArgument: no path, that of a folder, or a place where nothing can be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path = writable(path)
    # a short name, as that of the temporary must not be too long where that of the file is not
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:32]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600, which would hide results from colleagues
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def writable(path: str | Path, name: str = "path") -> Path:
    """The path of a file that can be written; its folder is made. Slow work asks before it begins.

    Args:
        path: of the file.
        name: of the argument it came by, for the error.

    Raises:
        InvalidArgument: no path, that of a folder, or a place where nothing can be written.

    Example:
        >>> writable("/")
        Traceback (most recent call last):
        ...
        photonet.errors.InvalidArgument: path: expected a file to write, got the folder /
    """
    path = as_path(path, name)
    if os.path.isdir(path):
        raise InvalidArgument(name, "a file to write", f"the folder {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # is the name too long?
    except OSError as error:
        got = f"{path} ({error.strerror})"
        raise InvalidArgument(name, "a file in a folder that can be written", got) from None
    return path


def as_path(path: str | Path, name: str = "path") -> Path:
    """The path of a file, of which nothing else is known.

    Args:
        path: of the file.
        name: of the argument it came by, for the error.

    Raises:
        InvalidArgument: no path, or one with a zero byte, which no system allows.

    Example:
        >>> as_path(None)
        Traceback (most recent call last):
        ...
        photonet.errors.InvalidArgument: path: expected the path of a file, got None
    """
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise InvalidArgument(name, "the path of a file", repr(path)[:80])
    return Path(path)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
