"""A teacher's tangents, computed once, stored, and read batch by batch while a student trains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import checks
from ..errors import DataError, DataMissing, InvalidArgument
from ..files import atomic_path
from .jacobian import tangents
from .parameters import Selection, batch
from .sketch import Sketch

__all__ = ["TeacherFeatures", "fingerprint"]


def fingerprint(what: nn.Module | Tensor) -> str:
    """Hash of a model's weights and buffers, or of a tensor's values, shape and precision.

    Example:
        >>> fingerprint(torch.zeros(3)) == fingerprint(torch.zeros(3)) != fingerprint(torch.zeros(4))
        True
    """
    digest = hashlib.sha256()
    items = {"": what}.items() if isinstance(what, Tensor) else sorted(what.state_dict().items())
    for name, value in items:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        for row in value.detach().reshape(1, -1).split(2**24, dim=1):
            digest.update(row.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class TeacherFeatures:
    """Sketched tangents and outputs of a teacher on a data set, memory-mapped from one HDF5 file.

    Made by `compute`; `open` reads them again and refuses those of another teacher or other data.
    The features keep one row per output, so the kernel along any direction can be taken later.

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
        """Sketch the teacher's per-sample gradients of every output and store them, atomically.

        Args:
            path: the file, HDF5.
            teacher: any module in eval mode.
            x: the inputs, [N, ...].
            sketch: the random map; 1024 numbers per output unless told.
            params: which of the teacher's parameters, see `select`.
            chunk: samples at a time.
            progress: called with (done, of) after each chunk.
        """
        import h5py

        sketch = Sketch() if sketch is None else sketch
        total, chunk = len(batch("x", x)), checks.count("chunk", chunk)
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file, torch.no_grad():
            for start in range(0, total, chunk):
                found = tangents(teacher, x[start : start + chunk], params=params)
                rows = {"features": sketch(found), "outputs": found.outputs}
                for name, row in rows.items():
                    # numpy has no bfloat16
                    values = (row.float() if row.dtype.itemsize < 4 else row).cpu().numpy()
                    target = file.require_dataset(name, (total, *values.shape[1:]), values.dtype)
                    target[start : start + len(values)] = values
                if progress is not None:
                    progress(min(start + chunk, total), total)
            file.attrs.update(
                teacher=fingerprint(teacher),
                data=fingerprint(x),
                parameters=", ".join(found.factors),
                size=sketch.size,
                kind=sketch.kind,
                seed=sketch.seed,
                blocks=sketch.blocks,
            )
        return cls(path)

    @classmethod
    def open(
        cls, path: str | Path, *, teacher: nn.Module | None = None, x: Tensor | None = None
    ) -> TeacherFeatures:
        """Read stored features, after a check that they belong to this teacher and these inputs.

        Raises:
            DataMissing: no such file.
            DataError: damaged, or made with other weights or data.
        """
        stored = cls(path)
        for name, given in (("teacher", teacher), ("data", x)):
            if given is not None and fingerprint(given) != stored.attributes.get(name):
                raise DataError(
                    f"{stored.path}: features of another {name} (its hash differs); "
                    "compute them again with TeacherFeatures.compute"
                )
        return stored

    def __len__(self) -> int:
        return len(self._features)

    def _rows(self, table: np.ndarray, indices: Tensor | list[int]) -> Tensor:
        wanted = torch.as_tensor(indices).cpu().numpy()
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise InvalidArgument("indices", f"samples 0 to {len(self) - 1}", int(wanted.max()))
        return torch.from_numpy(table[wanted])

    def features(self, indices: Tensor | list[int], directions: Tensor | None = None) -> Tensor:
        """Rows of the sketch.

        Args:
            indices: samples, [b].
            directions: [m, C], combinations of the outputs; None keeps the outputs themselves.

        Returns:
            [b, m or C, size].
        """
        rows = self._rows(self._features, indices)
        return rows if directions is None else directions.detach().to(rows) @ rows

    def outputs(self, indices: Tensor | list[int]) -> Tensor:
        """The teacher's outputs, [b, ...]."""
        return self._rows(self._outputs, indices)

    def gram(self, indices: Tensor | list[int], directions: Tensor | None = None) -> Tensor:
        """Estimated kernel of a batch, [b, b], summed over the directions (or over all outputs)."""
        rows = self.features(indices, directions).flatten(1)
        return rows @ rows.mT
