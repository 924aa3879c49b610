"""Online distillation: the student follows the teacher along the teacher's own training."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import checks
from ..errors import DataError, DataMissing, InvalidArgument
from ..provenance import module_hash

__all__ = ["Trajectory", "read_state"]

State = Mapping[str, torch.Tensor] | str | Path

STATES = "state dicts or .safetensors files"


class Trajectory(nn.Module):
    """A teacher that changes while the student learns, through the states of its own training.

    Early states are simpler functions, which a student learns more easily (arXiv 2301.12245 explains why by
    the student's tangent kernel). At a progress t of the student's run the state number ``t / until`` of
    the whole is asked, and the last one from ``until`` on. Tangent kernels are those of the last state.

    Args:
        model: the teacher's architecture; a copy is used.
        states: in the order of training, each a state dict or a safetensors file; or the folder of such
            files, in the order of their numbers, as ``distill(teacher, None, ..., out="teacher", keep=True)``
            leaves them in ``teacher/epochs``.
        until: progress of the student's run from which the last state is asked.

    Raises:
        InvalidArgument: no states, ``until`` outside (0, 1], or something else than a state.
        DataMissing: a file or folder is not there, or none of its files is a state.
        DataError: a file that cannot be read, or a state of another architecture.

    Example:
        >>> early, late = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> teacher = Trajectory(early, [early.state_dict(), late.state_dict()])
        >>> x = torch.rand(3, 2)
        >>> torch.equal(teacher.at(0.2)(x), early(x)), torch.equal(teacher.at(0.7)(x), late(x))
        (True, True)
    """

    def __init__(self, model: nn.Module, states: Sequence[State] | str | Path, *, until: float = 1.0) -> None:
        super().__init__()
        if isinstance(states, (str, Path)):
            states = _files(Path(states))
        if not isinstance(states, Sequence):
            raise InvalidArgument("states", f"{STATES}, or a folder of these", type(states).__name__)
        if not states:
            raise InvalidArgument("states", "at least one state of the teacher", "none")
        self.model = copy.deepcopy(model).eval()
        self.until = checks.positive("until", checks.fraction("until", until))
        self.states = [s if isinstance(s, (str, Path)) else _copied(s) for s in states]
        digest = hashlib.sha256()
        for index in range(len(states)):  # every one is tried before anything is trained
            self._load(index)
            digest.update(module_hash(self.model).encode())
        self.hash = digest.hexdigest()[:12]

    def at(self, progress: float) -> Trajectory:
        """The teacher with the state of a progress in [0, 1] of the student's run; returns itself."""
        count = len(self.states)
        progress = checks.fraction("progress", progress)
        index = min(int(progress / self.until * count), count - 1)
        if index != self.index:
            self._load(index)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of the present state."""
        outputs: torch.Tensor = self.model(x)
        return outputs

    def _load(self, index: int) -> None:
        chosen = self.states[index]
        state = read_state(chosen) if isinstance(chosen, (str, Path)) else chosen
        try:
            self.model.load_state_dict(dict(state))
        except RuntimeError as error:
            raise DataError(
                f"{chosen if isinstance(chosen, (str, Path)) else f'states[{index}]'}: "
                f"the state of another architecture ({str(error).splitlines()[-1].strip()})"
            ) from None
        self.index = index

    def extra_repr(self) -> str:
        """Number of states, for ``print(model)``."""
        return f"{len(self.states)} states, until={self.until:g}"


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Weights from a safetensors file; nothing is ever unpickled.

    Raises:
        InvalidArgument: another kind of file.
        DataMissing: no such file.
        DataError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidArgument(
            "states", STATES, path.name,
            "save weights with safetensors.torch.save_file; files of torch.save can run code when read",
        )  # fmt: skip
    if not path.is_file():
        raise DataMissing(f"{path}: no such file; train the teacher with distill(..., out=, keep=True)")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(f"{path}: not a readable safetensors file ({error})") from None


def _files(folder: Path) -> Sequence[State]:
    """The states in a folder, without those half-written."""
    files = list(folder.glob("[!.]*.safetensors"))
    if not files:
        raise DataMissing(
            f"{folder}: no folder of .safetensors files; train the teacher with distill(..., out=, keep=True)"
        )
    return sorted(files, key=lambda file: (len(file.name), file.name))  # 10000 after 9999


def _copied(state: Any) -> dict[str, torch.Tensor]:
    if not isinstance(state, Mapping):
        raise InvalidArgument("states", STATES, type(state).__name__)
    return {name: tensor.detach().clone() for name, tensor in state.items()}
