"""A sealed HDF5 file: no byte reaches the HDF5 library before its checksum was right.

The HDF5 library may crash on damaged input, and a flipped bit in a frame is a wrong number that nobody
sees. Therefore the file carries digests of its own blocks:

    bytes 0 to 511       header, in the user block that HDF5 leaves to applications
    then `length` bytes  the HDF5 payload
    then the table       SHA-256 of each block of the payload, 32 bytes each

Header (little endian): 8 bytes magic, u32 version, u32 block size, u64 payload length, 32 bytes SHA-256 of
the table, zeros up to byte 480, 32 bytes SHA-256 of bytes 0 to 479. The blocks are checked when they are
read, so a file of 100 GB opens at once. Other HDF5 programs read the file as it is.

This guards against accidents (a cut, a flipped bit, a program that wrote into the file), not against an
adversary, who could seal a file of his own making.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ..errors import DataError, DataMissing
from ..files import as_path

__all__ = ["SealedFile", "seal"]

MAGIC = b"PHOTONET"
VERSION = 1
HEADER_BYTES = 512
BLOCK = 1 << 20
FIELDS = struct.Struct("<8sIIQ32s")
DIGEST = 32
CACHED_BLOCKS = 16


def seal(path: Path, block: int = BLOCK) -> None:
    """Write header and table of digests into an HDF5 file that has a user block of 512 bytes.

    Args:
        path: a finished HDF5 file that nobody else sees yet (see `files.atomic_path`).
        block: size of the blocks in bytes.
    """
    with open(path, "r+b") as f:
        f.seek(HEADER_BYTES)
        digests = []
        length = 0
        while part := f.read(block):
            digests.append(hashlib.sha256(part).digest())
            length += len(part)
        table = b"".join(digests)
        f.write(table)
        head = FIELDS.pack(MAGIC, VERSION, block, length, hashlib.sha256(table).digest())
        head = head.ljust(HEADER_BYTES - DIGEST, b"\0")
        f.seek(0)
        f.write(head + hashlib.sha256(head).digest())


class SealedFile(io.RawIOBase):
    """A read-only file whose every byte was checked; what h5py reads from.

    Positions are those in the file; the table of digests at its end is not shown.

    Args:
        path: a file made by `seal`.

    Attributes:
        checksum: of all that is in the file.
        damage: the first damage that was met, in words, or None. (The HDF5 library turns the exception
            into one of its own, so the reader looks here.)

    Raises:
        InvalidArgument: no path.
        DataMissing: there is no such file.
        DataError: not such a file, of another version, cut, or damaged in header or table.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = as_path(path)
        self.damage: str | None = None
        self._position = 0
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._descriptor = -1
        if not os.path.isfile(self.path):  # a pipe would wait for ever
            raise DataMissing(f"there is no file {self.path}")
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise DataError(f"{self.path}: cannot be opened: {error.strerror}") from None
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        size = os.fstat(self._descriptor).st_size
        self._header = self._pread(HEADER_BYTES, 0)
        if len(self._header) < HEADER_BYTES:
            raise DataError(f"{self.path}: cut off in the header: {size} bytes of at least {HEADER_BYTES}")
        magic, version, block, length, table_digest = FIELDS.unpack_from(self._header)
        if magic != MAGIC:
            raise DataError(f"{self.path}: not a measured-data file (no {MAGIC.decode()} at byte 0)")
        if hashlib.sha256(self._header[:-DIGEST]).digest() != self._header[-DIGEST:]:
            raise DataError(
                f"{self.path}: the header (bytes 0 to {HEADER_BYTES - 1}) does not match its checksum"
            )
        if version != VERSION or block == 0:
            raise DataError(f"{self.path}: format version {version}; this photonet reads version {VERSION}")
        count = -(-length // block)
        expected = HEADER_BYTES + length + DIGEST * count
        if size != expected:
            what = "cut off" if size < expected else "has bytes added at its end"
            raise DataError(f"{self.path}: {what}: {size} bytes, of which the header knows {expected}")
        self.block, self.blocks, self.end = block, count, HEADER_BYTES + length
        table = self._pread(DIGEST * count, self.end)
        if hashlib.sha256(table).digest() != table_digest:
            raise DataError(f"{self.path}: the table of checksums (from byte {self.end}) is damaged")
        self._table, self.checksum = table, table_digest.hex()

    def _pread(self, count: int, position: int) -> bytes:
        parts = []
        while count > 0 and (part := _read_at(self._descriptor, count, position)):
            parts.append(part)
            count, position = count - len(part), position + len(part)
        return b"".join(parts)

    def block_range(self, index: int) -> tuple[int, int]:
        """First byte of a block and the first one after it, in the file."""
        first = HEADER_BYTES + index * self.block
        return first, min(first + self.block, self.end)

    def is_good(self, index: int) -> bool:
        """Whether a block matches its checksum, read anew from the disk."""
        first, after = self.block_range(index)
        data = self._pread(after - first, first)
        good = hashlib.sha256(data).digest() == self._table[DIGEST * index : DIGEST * (index + 1)]
        if good:
            self._cache[index] = data
            if len(self._cache) > CACHED_BLOCKS:
                self._cache.popitem(last=False)
        return good

    def _verified(self, index: int) -> bytes:
        if index not in self._cache and not self.is_good(index):
            first, after = self.block_range(index)
            self.damage = f"bytes {first} to {after - 1} do not match their checksum"
            raise OSError(self.damage)
        self._cache.move_to_end(index)
        return self._cache[index]

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.end:
            if self._position < HEADER_BYTES:
                part = self._header[self._position :]
            else:
                index, skip = divmod(self._position - HEADER_BYTES, self.block)
                part = self._verified(index)[skip:]
            part = part[: len(view) - done]
            view[done : done + len(part)] = part
            done, self._position = done + len(part), self._position + len(part)
        return done

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.end}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


def _read_at(descriptor: int, count: int, position: int) -> bytes:
    """Read without moving a position that forked workers share; Windows cannot, and does not fork."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, count)
