"""Arms of a table: what differs between its rows, and how one of them is trained and measured."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from photonet.data import Splits
from photonet.distill import METHODS, Term, TrainConfig, accuracy, distill, mean_iou, predict
from photonet.distill.noise import Noise
from photonet.distill.views import Views
from photonet.files import atomic_path
from photonet.provenance import config_hash, module_hash, tensor_hash

from .cells import Cells

__all__ = ["TUNING_SEED", "Arm", "new", "scores", "train_teacher", "tuned"]

Model = TypeVar("Model", bound=nn.Module)

TUNING_SEED = 1000
"""Learning rates are chosen with a seed that is not among those of the table."""


@dataclass(frozen=True)
class Arm:
    """One row of a table.

    Args:
        student: builds it; called under the seed of the run.
        design: the student in words, part of the settings.
        method: name or terms of the loss.
        config: of the training.
        views: that student and teacher see, or None.
        unlabelled: whether the rest of the training pictures serves without labels.
        noise: devices that it is trained as, or None.
        bfloat16: products of training in bfloat16 with float32 sums and weights, half the time on this CPU;
            always measured in float32.
    """

    student: Callable[[], nn.Module]
    design: str
    method: str | Sequence[Term] = "ce"
    config: TrainConfig = field(default_factory=TrainConfig)
    views: Views | None = None
    unlabelled: bool = False
    noise: Noise | None = None
    bfloat16: bool = False

    @property
    def terms(self) -> tuple[Term, ...]:
        """Of the loss."""
        return METHODS[self.method] if isinstance(self.method, str) else tuple(self.method)

    def settings(self, seed: int, data: Splits, more: torch.Tensor | None, teacher: str) -> dict[str, Any]:
        """Everything that decides a result, in plain values."""
        needed = any(term.needs - {"labels"} for term in self.terms)
        devices = {} if self.noise is None else {"noise": repr(self.noise)}
        return {
            **self.config.as_dict(),
            **devices,
            "design": self.design,
            "terms": [term.as_dict() for term in self.terms],
            "views": None if self.views is None else getattr(self.views, "__name__", repr(self.views)),
            "unlabelled": 0 if more is None or not self.unlabelled else len(more),
            "teacher": teacher if needed else None,
            "bfloat16": self.bfloat16,
            "seed": seed,
            "images": len(data.train),
            "data": tensor_hash(data.train.pixels, data.train.labels),
        }


def precision(low: bool) -> torch.autocast:
    """The context of a training run; weights are cast anew at every use, as they change."""
    return torch.autocast("cpu", torch.bfloat16, enabled=low, cache_enabled=False)


def new(build: Callable[[], Model], seed: int) -> Model:
    """A network with first weights of its own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def train_teacher(
    cells: Cells, name: str, build: Callable[[], nn.Module], arm: Arm, data: Splits, work: Path
) -> tuple[nn.Module, str]:
    """A teacher, trained once and kept beside the checkpoints; returned with the hash of its settings."""
    from safetensors.torch import load_file, save_file

    model, path = new(build, 0), work / f"{name}.safetensors"
    if not path.exists():
        cells.cells.pop(name, None)  # the numbers without the weights do not help

    def compute() -> dict[str, Any]:
        with precision(arm.bfloat16):
            distill(
                model, None, data.train, val=data.val, method=arm.method, views=arm.views,
                config=arm.config, out=work / name,
            )  # fmt: skip
        with atomic_path(path) as temporary:
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary)
        return measure(model, data)

    cell = cells.get(name, arm.settings(0, data, None, "none"), compute)
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False), config_hash(cell["settings"])


def measure(model: nn.Module, data: Splits) -> dict[str, Any]:
    """Accuracies, or mean intersections over union where every pixel has a label; numbers of parameters."""
    backend = getattr(model, "backend", model)
    score = mean_iou if data.test.labels.ndim > 1 else accuracy
    return {
        "test": score(predict(model, data.test.images), data.test.labels),
        "val": score(predict(model, data.val.images), data.val.labels),
        "parameters": sum(p.numel() for p in model.parameters()),
        "backend": sum(p.numel() for p in backend.parameters()),
    }


def scores(
    cells: Cells,
    name: str,
    arm: Arm,
    seeds: Sequence[int],
    data: Splits,
    work: Path,
    *,
    teacher: tuple[nn.Module | None, str] = (None, "none"),
    more: torch.Tensor | None = None,
    judge: Callable[[nn.Module, Splits], dict[str, Any]] = measure,
) -> list[float]:
    """Test score of an arm for each seed; ``judge`` says what is measured."""
    found = []
    for seed in seeds:
        settings = arm.settings(seed, data, more, teacher[1])

        def compute(seed: int = seed, settings: dict[str, Any] = settings) -> dict[str, Any]:
            student = new(arm.student, seed)
            # by what is run: neither a table with a row of this name nor an older setting is resumed
            folder = work / config_hash(settings)
            asked = "none" if teacher[0] is None else module_hash(teacher[0])
            tangents = work / f"tangents-{asked}-{tensor_hash(data.train.pixels)}.h5"
            if tangents.exists():  # of this teacher and these pictures, whatever the arm
                folder.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    os.link(tangents, folder / "teacher.h5")
            with precision(arm.bfloat16):
                result = distill(
                    student, copy.deepcopy(teacher[0]), data.train, val=data.val, method=arm.method,
                    views=arm.views, unlabelled=more if arm.unlabelled else None, noise=arm.noise,
                    config=arm.config, out=folder, seed=seed,
                )  # fmt: skip
            if (folder / "teacher.h5").exists():
                (folder / "teacher.h5").replace(tangents)
            shutil.rmtree(folder, ignore_errors=True)
            history = [round(float(v), 4) for v in result.history["val_accuracy"]]
            return {**judge(student, data), "history": history}

        found.append(float(cells.get(f"{name}/{seed}", settings, compute)["test"]))
    return found


def tuned(
    cells: Cells, name: str, arm: Arm, rates: Sequence[float], data: Splits, work: Path, **options: Any
) -> Arm:
    """The arm with the learning rate that does best on validation data; test data plays no part."""
    best = {}
    for lr in rates:
        trial = replace(arm, config=replace(arm.config, lr=lr))
        key = f"{name}/lr {lr:g}"
        scores(cells, key, trial, [TUNING_SEED], data, work, **options)
        best[lr] = cells.cells[f"{key}/{TUNING_SEED}"]["val"]
    return replace(arm, config=replace(arm.config, lr=max(best, key=lambda lr: best[lr])))
