"""Readers of the file formats in which image sets come: HDF5, IDX and CIFAR binary.

Each returns uint8 tensors and raises `DataError` naming the file and the place in it.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import DataError, PhotonetError

if TYPE_CHECKING:
    import h5py

IDX_UINT8 = 0x08
MOST_COMPRESSION = 1032
"""Largest ratio of DEFLATE (RFC 1951: a match of 258 bytes takes 2 bits at least)."""

CIFAR_RECORD = 1 + 3 * 32 * 32


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; whatever HDF5 says about damage becomes a `DataError`."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except PhotonetError:
        raise
    except Exception as error:  # h5py has many kinds for damage, KeyError and TypeError among them
        raise DataError(f"{path}: not a whole HDF5 file ({error})") from error


def read_hdf5(file: h5py.File, dataset: str, dtype: str, axes: int) -> Any:
    """The array ``dataset`` of an open file, after a look at what it is.

    Args:
        file: the open file.
        dataset: path in the file.
        dtype: NumPy dtype it must have ("object": variable-length entries).
        axes: number of axes it must have.

    Raises:
        DataError: missing, or of another kind.
    """
    import h5py

    found = file.get(dataset)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{file.filename}: no dataset /{dataset}; it holds {', '.join(file) or 'nothing'}")
    if found.dtype != np.dtype(dtype) or found.ndim != axes:
        raise DataError(
            f"{file.filename}: /{dataset}: expected {dtype} with {axes} axes, "
            f"got {found.dtype} of shape {list(found.shape)}"
        )
    announced, stored = found.size * found.id.get_type().get_size(), found.id.get_storage_size()
    if announced > MOST_COMPRESSION * stored:  # else a damaged extent is read as terabytes of zeros
        raise DataError(
            f"{file.filename}: /{dataset}: announces {announced} bytes in shape {list(found.shape)}, "
            f"but the file stores {stored}"
        )
    return found[:]


def class_names(file: h5py.File) -> tuple[str, ...]:
    """The file attribute ``class_names``; the label is the index."""
    names = file.attrs.get("class_names")
    if names is None:
        raise DataError(f"{file.filename}: no file attribute class_names")
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)


def decode_jpeg(file: h5py.File, dataset: str, size: int) -> torch.Tensor:
    """Variable-length JPEG entries as uint8 [N, 3, size, size]."""
    from PIL import Image

    entries = read_hdf5(file, dataset, "object", 1)
    pixels = np.empty((len(entries), size, size, 3), dtype=np.uint8)
    for i, entry in enumerate(entries):
        try:
            with Image.open(io.BytesIO(entry.tobytes()), formats=["JPEG"]) as picture:
                if picture.size != (size, size):
                    raise DataError(
                        f"{file.filename}: /{dataset}[{i}]: expected {size} x {size}, got {picture.size}"
                    )
                pixels[i] = np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow has for damage
            raise DataError(f"{file.filename}: /{dataset}[{i}]: not a whole JPEG ({error})") from error
    return channels_first(pixels)


def channels_first(pixels: np.ndarray) -> torch.Tensor:
    """[N, y, x, C] as a contiguous tensor [N, C, y, x]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def read_idx(path: Path, axes: int) -> torch.Tensor:
    """An IDX file of bytes, gzipped or not, as a uint8 tensor.

    The format: two zero bytes, 0x08 for unsigned bytes, the number of axes; then every length as a
    big-endian 32-bit number; then the values (LeCun, Cortes, Burges, "The MNIST database").

    Raises:
        DataError: another magic number, fewer or more values than announced, damaged compression.
    """
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from error
    head = 4 + 4 * axes
    expected = bytes([0, 0, IDX_UINT8, axes])
    if content[:4] != expected:
        raise DataError(
            f"{path}: byte 0: expected the magic number {expected.hex()}, got {content[:4].hex()!r}"
        )
    if len(content) < head:
        raise DataError(f"{path}: byte {len(content)}: the file ends within its header of {head} bytes")
    shape = struct.unpack(f">{axes}I", content[4:head])
    count = math.prod(shape)
    if len(content) != head + count:
        raise DataError(
            f"{path}: byte {min(len(content), head + count)}: expected {count} values "
            f"for shape {list(shape)}, got {len(content) - head}"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=head).reshape(shape).copy())


def read_cifar_binary(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of the binary version of CIFAR-10: pixels uint8 [N, 3, 32, 32] and labels uint8 [N]."""
    content = np.fromfile(path, dtype=np.uint8)
    if content.size == 0 or content.size % CIFAR_RECORD:
        raise DataError(
            f"{path}: byte {content.size}: expected whole records of {CIFAR_RECORD} bytes, "
            f"the last one has {content.size % CIFAR_RECORD}"
        )
    records = torch.from_numpy(content).reshape(-1, CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).clone(), records[:, 0].clone()
