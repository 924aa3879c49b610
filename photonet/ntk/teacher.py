"""A teacher's tangents, computed once, stored, and read batch by batch while a student trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import checks
from ..errors import DataError, DataMissing, InvalidArgument
from ..files import atomic_path, writable
from ..precision import full_precision
from ..provenance import config_hash, module_hash, tensor_hash
from .empirical import _one_network
from .jacobian import tangents
from .parameters import Selection, batch, in_python, select
from .sketch import Sketch, sketch_error

__all__ = ["TeacherFeatures"]


PARTS = "[0-9a-f]" * 12 + "-[0-9]*.safetensors"
"""Chunks of a computation that is not finished."""

WORDS = {
    "teacher": "teacher",
    "parameters": "choice of parameters",
    "data": "data",
    "size": "sketch size",
    "kind": "sketch kind",
    "seed": "sketch seed",
    "blocks": "number of sketch blocks",
}
"""What decides the features, and how an error calls it."""


def _made_of(
    teacher: nn.Module | None, x: Tensor | None, sketch: Sketch | None, params: Selection
) -> dict[str, Any]:
    """The attributes of a file that these arguments decide."""
    found: dict[str, Any] = {}
    if teacher is not None:
        checks.instance("teacher", teacher, nn.Module, "a torch module")
        found |= {"teacher": module_hash(teacher), "parameters": ", ".join(select(teacher, params))}
    if x is not None:
        found["data"] = tensor_hash(checks.instance("x", x, Tensor, "a tensor [n, ...]"))
    if sketch is not None:
        checks.instance("sketch", sketch, Sketch, "a Sketch")
        found |= {name: getattr(sketch, name) for name in ("size", "kind", "seed", "blocks")}
    return found


class TeacherFeatures:
    """Sketched tangents and outputs of a teacher on a data set, memory-mapped from one HDF5 file.

    Made by `compute`; `open` reads them again and refuses those of another teacher, other data or another
    sketch. The features keep one row per output, so the kernel along any direction can be taken later.

    Attributes:
        attributes: what decided the features, and ``error``, the `sketch_error` of the first chunk's kernel.

    Example:
        >>> import tempfile
        >>> teacher, x = nn.Linear(4, 3), torch.eye(4)
        >>> path = Path(tempfile.mkdtemp()) / "teacher.h5"
        >>> stored = TeacherFeatures.compute(path, teacher, x, sketch=Sketch(64))
        >>> stored.gram(torch.tensor([2, 0])).shape, stored.outputs([1]).shape
        (torch.Size([2, 2]), torch.Size([1, 3]))
    """

    def __init__(self, path: str | Path) -> None:
        import h5py

        self.path = Path(path)
        if not self.path.is_file():
            raise DataMissing(
                f"{self.path}: no teacher features here; make them with TeacherFeatures.compute"
            )
        try:
            with h5py.File(self.path, "r") as file:
                self.attributes = dict(file.attrs)
                self._features = self._map(file["features"])
                self._outputs = self._map(file["outputs"])
        except (OSError, KeyError) as error:
            raise DataError(f"{self.path}: not a file of teacher features ({error})") from None

    def _map(self, dataset: Any) -> np.ndarray:
        offset = dataset.id.get_offset()
        if offset is None:
            raise DataError(f"{self.path}: {dataset.name} is not stored in one piece, so it cannot be mapped")
        return np.memmap(self.path, dataset.dtype, "r", offset=offset, shape=dataset.shape)

    @classmethod
    def compute(
        cls,
        path: str | Path,
        teacher: nn.Module,
        x: Tensor,
        *,
        sketch: Sketch | None = None,
        params: Selection = None,
        chunk: int = 128,
        progress: Callable[[int, int], None] | None = None,
    ) -> TeacherFeatures:
        """Sketch the teacher's per-sample gradients of every output and store them.

        The file appears when it is whole. Until then the chunks are kept beside it, and an interrupted
        computation goes on from them to the same file; one that is damaged is computed again.

        Args:
            path: the file, HDF5.
            teacher: any module in eval mode.
            x: the inputs, [N, ...].
            sketch: the random map; 1024 numbers per output unless told.
            params: which of the teacher's parameters, see `select`.
            chunk: samples at a time.
            progress: called with (done, of) after each chunk.

        Raises:
            InvalidArgument: inputs that are not finite, dropout in training, no path of a file, or as `gram`.
        """
        import h5py
        from safetensors.torch import load_file

        path = writable(path)
        sketch = Sketch() if sketch is None else sketch
        checks.finite("x", batch("x", x))
        in_python("teacher", teacher)
        _one_network(teacher)
        total, chunk = len(x), checks.count("chunk", chunk)
        params = list(select(teacher, params).values())  # an iterator of parameters serves once
        made = _made_of(teacher, x, sketch, params)
        folder, key = _parts_of(path), config_hash({**made, "chunk": chunk})
        parts = {start: folder / f"{key}-{start}.safetensors" for start in range(0, total, chunk)}
        for start, part in parts.items():
            if not _whole(part):
                _write_part(part, teacher, x[start : start + chunk], sketch, params)
            if progress is not None:
                progress(min(start + chunk, total), total)
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            for start, part in parts.items():
                rows = load_file(part)
                for name, row in rows.items():
                    values = row.numpy()
                    target = file.require_dataset(name, (total, *values.shape[1:]), values.dtype)
                    target[start : start + len(values)] = values
                if start == 0:
                    made["error"] = float(sketch_error(rows["features"], sketch.blocks))
            file.attrs.update(made)
        clear_parts(path)
        return cls(path)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        teacher: nn.Module | None = None,
        x: Tensor | None = None,
        sketch: Sketch | None = None,
        params: Selection = None,
    ) -> TeacherFeatures:
        """Read stored features, after a check that they are what `compute` would make of these arguments.

        Args:
            path: the file.
            teacher: None leaves the teacher unchecked, and its parameters.
            x: the inputs; None leaves them unchecked.
            sketch: None leaves it unchecked.
            params: which of the teacher's parameters.

        Raises:
            DataMissing: no such file.
            DataError: damaged, or made of something else; says what differs.
            InvalidArgument: something else than a teacher, inputs or a sketch.
        """
        stored = cls(path)
        for name, wanted in _made_of(teacher, x, sketch, params).items():
            got = stored.attributes.get(name)
            if got != wanted:
                raise DataError(
                    f"{stored.path}: features of another {WORDS[name]} ({str(got)[:80]} in place of "
                    f"{str(wanted)[:80]}); compute them again with TeacherFeatures.compute"
                )
        return stored

    def __len__(self) -> int:
        return len(self._features)

    def _rows(self, table: np.ndarray, indices: Tensor | list[int]) -> Tensor:
        expected = f"samples 0 to {len(self) - 1}"
        try:
            wanted = torch.as_tensor(indices).cpu().numpy()
        except (TypeError, ValueError, RuntimeError):  # words, rows of unequal length, objects
            raise InvalidArgument("indices", expected, repr(indices)[:80]) from None
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise InvalidArgument("indices", expected, f"shape {wanted.shape} of {wanted.dtype}")
        wanted = wanted.astype(np.int64)  # an empty list is of floating-point numbers
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if outside.size:
            raise InvalidArgument("indices", expected, int(outside[0]))
        return torch.from_numpy(table[wanted])

    def features(self, indices: Tensor | list[int], directions: Tensor | None = None) -> Tensor:
        """Rows of the sketch.

        Args:
            indices: samples, [b].
            directions: [m, C], combinations of the outputs; None keeps the outputs themselves.

        Returns:
            [b, m or C, size].

        Raises:
            InvalidArgument: no such samples, or no combinations of so many outputs.
        """
        rows = self._rows(self._features, indices)
        if directions is None:
            return rows
        expected = f"combinations [m, {rows.shape[1]}] of the outputs"
        checks.instance("directions", directions, Tensor, expected)
        if directions.ndim != 2 or directions.shape[1] != rows.shape[1]:
            raise InvalidArgument("directions", expected, f"shape {tuple(directions.shape)}")
        with full_precision(rows):
            return directions.detach().to(rows) @ rows

    def outputs(self, indices: Tensor | list[int]) -> Tensor:
        """The teacher's outputs, [b, ...]."""
        return self._rows(self._outputs, indices)

    def gram(self, indices: Tensor | list[int], directions: Tensor | None = None) -> Tensor:
        """Estimated kernel of a batch, [b, b], summed over the directions (or over all outputs)."""
        rows = self.features(indices, directions).flatten(1)
        with full_precision(rows):
            return rows @ rows.mT


def clear_parts(path: str | Path) -> None:
    """Remove the chunks beside a file of teacher features that is whole.

    Also those of a computation that was given up, or that was killed when the file had just appeared.
    """
    folder = _parts_of(path)
    for part in folder.glob(PARTS):
        part.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _parts_of(path: str | Path) -> Path:
    return Path(f"{path}.parts")


def _whole(part: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(part, framework="pt"):  # compares the lengths it tells with that of the file
            return True
    except (FileNotFoundError, SafetensorError):
        return False


def _write_part(path: Path, teacher: nn.Module, x: Tensor, sketch: Sketch, params: Selection) -> None:
    from safetensors.torch import save_file

    with torch.no_grad():
        found = tangents(teacher, x, params=params)
        rows = {"features": sketch(found), "outputs": found.outputs}
    # numpy has no bfloat16
    short = {name: row.float() if row.dtype.itemsize < 4 else row for name, row in rows.items()}
    with atomic_path(path) as temporary:
        save_file({name: row.cpu().contiguous() for name, row in short.items()}, temporary)
