"""`distill`: one call from a digital teacher and an optical student to a trained student."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import checks
from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from ..files import atomic_path, write_text
from ..provenance import config_hash, provenance, state_hash, tensor_hash
from .config import METHODS, TrainConfig
from .losses import UNLABELLED
from .teacher import teacher_targets
from .terms import Term, needs
from .trainer import Samples, Views, accuracy, fit, predict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Distilled", "distill", "labelled"]

LEARNING_RATES = (1e-3, 3e-3, 1e-2)
"""What ``tune=True`` tries."""

HELD_OUT = 0.1
"""Fraction of the training data that validates when no validation data is given."""


@dataclass(frozen=True)
class Distilled:
    """A trained student and its record.

    Args:
        student: the module that was passed in, trained in place.
        history: Dataset over ``epoch``: the mean of each loss term, validation loss and accuracy.
        metrics: what was measured at the end.
        config: settings of the run, method and seed included.
    """

    student: nn.Module
    history: xr.Dataset
    metrics: dict[str, float]
    config: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str | Path) -> Path:
        """Write ``student.safetensors``, ``history.nc`` and ``.csv``, ``run.json``; returns the folder."""
        from safetensors.torch import save_file

        folder = Path(folder)
        with atomic_path(folder / "student.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in self.student.state_dict().items()}, temporary)
        with atomic_path(folder / "history.nc") as temporary:
            self.history.to_netcdf(temporary, engine="h5netcdf")
        write_text(folder / "history.csv", _csv(self.history))
        write_text(
            folder / "run.json", json.dumps({"config": self.config, "metrics": self.metrics}, indent=2)
        )
        return folder


def distill(
    student: nn.Module,
    teacher: nn.Module | None,
    train: Any,
    *,
    val: Any = None,
    method: str | Sequence[Term] = "ntkd",
    config: TrainConfig | None = None,
    views: Views | None = None,
    unlabelled: Any = None,
    tune: bool | Sequence[float] = False,
    out: str | Path | None = None,
    resume: bool = True,
    seed: int = 0,
) -> Distilled:
    """Train a student with the knowledge of a teacher.

    Nothing is assumed of either but that they map the same inputs to the same number of outputs; the
    student's parameters that require a gradient are trained, in place. Methods:

    ==============  ==================================================================================
    ``ce``          cross-entropy to the labels; no teacher needed
    ``kd``          knowledge distillation: 0.1 cross-entropy + 0.9 softened outputs (arXiv 1503.02531)
    ``features``    cross-entropy + alignment of the features before the last dense layers
    ``ntkd-paper``  cross-entropy + matching of neural tangent kernels (arXiv 2508.08421, Eq. 9)
    ``ntkd``        distillation + alignment of the class-centred neural tangent kernels; the default
    ==============  ==================================================================================

    Args:
        student: any module; samples must not mix in it (no batch normalisation in training mode when
            kernels are matched).
        teacher: any module with the student's outputs; None for ``ce``.
        train: `photonet.data.Images`, or a pair of inputs [n, ...] and labels [n] (tensor, array or xarray).
        val: the same; by default a tenth of ``train`` is held out.
        method: one of the table, or the terms of a loss (`photonet.distill.terms`), each with its weight
            and schedule.
        config: see `TrainConfig`.
        views: function of inputs [b, ...] and a ``torch.Generator`` to other views of them; the student is
            trained on views, and the teacher is asked about the same ones.
        unlabelled: further inputs [m, ...] without labels, about which only the teacher is asked.
        tune: try several learning rates (True: `LEARNING_RATES`, or those given), each from the same first
            weights, and keep the best by validation accuracy. Comparisons are fair when every arm does so.
        out: folder for a checkpoint after each epoch, the teacher's sketched tangents, and
            ``history.csv``; with ``tune`` one folder per learning rate.
        resume: go on from the checkpoint in ``out``; the result is that of an uninterrupted run.
        seed: of the order of samples, the held-out tenth and the random directions.

    Returns:
        `Distilled`.

    Raises:
        UnknownName: the method does not exist.
        InvalidArgument: no teacher for a method that needs one, labels of another length, or a
            student without trainable parameters.
        GridMismatch: teacher and student have different outputs.
        TrainingDiverged: the loss became NaN or infinite.

    Example:
        >>> from photonet.models import compressed_meta, lenet
        >>> x, y = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
        >>> result = distill(compressed_meta(), lenet(), (x, y), config=TrainConfig(epochs=1, batch_size=18))
        >>> sorted(result.history)
        ['ce', 'kd', 'ntk', 'val_accuracy', 'val_loss']
    """
    terms, method_name = _terms(method)
    config = config or TrainConfig()
    checks.count("seed", seed, least=0)
    inputs, labels = labelled("train", train)
    if val is None:
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed)).to(inputs.device)
        held = order[: max(1, int(HELD_OUT * len(inputs)))]
        rest = order[len(held) :]
        (val_inputs, val_labels), (inputs, labels) = (
            (inputs[held], labels[held]),
            (inputs[rest], labels[rest]),
        )
    else:
        val_inputs, val_labels = labelled("val", val)
    classes = predict(student, inputs[:1]).shape[1]
    for name, some in {"train": labels, "val": val_labels}.items():
        _check_classes(f"{name} labels", some, classes)
    if len(inputs) < 2:
        raise InvalidArgument("train", "two or more samples after the validation split", len(inputs))
    wanted = needs(terms)
    if teacher is None and wanted - {"labels"}:
        raise InvalidArgument(
            "teacher", f"a torch module for the method {method_name!r}", None, "use method='ce' without one"
        )
    if unlabelled is not None:
        more = as_tensor("unlabelled", unlabelled, least_dims=2).to(inputs)
        if more.shape[1:] != inputs.shape[1:]:
            raise GridMismatch("unlabelled", f"inputs {tuple(inputs.shape[1:])}", f"{tuple(more.shape[1:])}")
        if not wanted - {"labels"}:
            raise InvalidArgument("unlabelled", "a method that asks the teacher", method_name)
        inputs = torch.cat([inputs, more])
        labels = torch.cat([labels, labels.new_full((len(more), *labels.shape[1:]), UNLABELLED)])
    if teacher is not None and wanted - {"labels"}:
        _same_outputs(student, teacher, inputs[:1])

    folder = Path(out) if out is not None else None
    # on views the stored outputs do not hold: the teacher is asked at every step, its kernel only once
    stored = terms if views is None else [term for term in terms if term.need == "gram"]
    samples = Samples(
        inputs,
        labels,
        **teacher_targets(teacher, inputs, stored, folder),
        views=views,
        ask=copy.deepcopy(teacher).eval() if views is not None and teacher is not None else None,
    )
    val_samples = Samples(
        val_inputs,
        val_labels,
        **teacher_targets(teacher, val_inputs, [t for t in terms if t.need == "teacher"]),
    )
    settings = {
        **config.as_dict(),
        "method": method_name,
        "terms": json.dumps([term.as_dict() for term in terms]),
        "seed": seed,
        "data": tensor_hash(inputs, labels),
        "teacher": state_hash(teacher.state_dict()) if teacher is not None else "none",
        "student": state_hash(student.state_dict()),
        "views": getattr(views, "__qualname__", repr(views)),
    }

    def train_at(lr: float, folder: Path | None) -> tuple[xr.Dataset, dict[str, Any]]:
        described = {**settings, "lr": lr}
        run_hash = config_hash(described)
        checkpoint = folder / "checkpoint.safetensors" if folder is not None else None
        if checkpoint is not None and not resume:
            checkpoint.unlink(missing_ok=True)
        history = fit(
            student, samples, val_samples, terms, replace(config, lr=lr), seed=seed,
            checkpoint=checkpoint, run_hash=run_hash, description=f"distilling ({method_name}, lr {lr:g})",
        )  # fmt: skip
        history.attrs |= provenance(run=run_hash, **described)
        if folder is not None:
            write_text(folder / "history.csv", _csv(history))
        return history, described

    if tune is False:
        history, settings = train_at(config.lr, folder)
    else:
        history, settings = _best_rate(student, LEARNING_RATES if tune is True else tune, train_at, folder)
    metrics = {"val_accuracy": accuracy(predict(student, val_inputs), val_labels)}
    return Distilled(student, history, metrics, settings)


def _best_rate(
    student: nn.Module,
    rates: Sequence[float],
    train_at: Callable[[float, Path | None], tuple[xr.Dataset, dict[str, Any]]],
    folder: Path | None,
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Train from the same first weights at every rate; the student is left with the best ones."""
    if not rates:
        raise InvalidArgument("tune", "at least one learning rate", rates)
    first = copy.deepcopy(student.state_dict())
    tried = []
    for lr in rates:
        student.load_state_dict(first)
        history, settings = train_at(lr, None if folder is None else folder / f"lr-{lr:g}")
        score = float(history["val_accuracy"][-1]), -float(history["val_loss"][-1])
        tried.append((score, history, settings, copy.deepcopy(student.state_dict())))
    _, history, settings, weights = max(tried, key=lambda one: one[0])
    student.load_state_dict(weights)
    return history, settings


def _terms(method: str | Sequence[Term]) -> tuple[tuple[Term, ...], str]:
    """The terms of a loss and a name for them."""
    if isinstance(method, str):
        return checks.lookup("method", method, METHODS), method
    terms = tuple(method)
    names = [term.name for term in terms if isinstance(term, Term)]
    if len(names) < len(terms) or not names or len(set(names)) < len(names):
        raise InvalidArgument("method", "a name, or terms of different kinds", repr(method))
    return terms, "+".join(names)


def _csv(history: xr.Dataset) -> str:
    names = list(history)
    lines = [",".join(["epoch", *(str(name) for name in names)])]
    for row, epoch in enumerate(history["epoch"].values):
        lines.append(",".join([str(epoch), *(repr(float(history[name][row])) for name in names)]))
    return "\n".join(lines) + "\n"


def _same_outputs(student: nn.Module, teacher: nn.Module, one: torch.Tensor) -> None:
    expected, got = predict(student, one).shape[1:], predict(teacher, one).shape[1:]
    if got != expected:
        raise GridMismatch("teacher", f"outputs {tuple(expected)}, as the student's", f"{tuple(got)}")


def _check_classes(name: str, labels: torch.Tensor, classes: int) -> None:
    wrong = (labels != UNLABELLED) & ((labels < 0) | (labels >= classes))
    if bool(wrong.any()):
        got = f"{int(labels[wrong][0])} ({int(wrong.sum())} such labels)"
        raise InvalidArgument(name, f"classes 0 to {classes - 1}, the student's outputs", got)


def labelled(name: str, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels as tensors, from `photonet.data.Images` or a pair of arrays.

    Raises:
        InvalidArgument: neither of these, labels that are not whole numbers, or of another length.
    """
    if hasattr(data, "images") and hasattr(data, "labels"):
        data = (data.images, data.labels)
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InvalidArgument(name, "Images, or a pair (inputs, labels)", type(data).__name__)
    inputs = as_tensor(f"{name} inputs", data[0], least_dims=2)
    labels = torch.as_tensor(data[1].values if hasattr(data[1], "dims") else data[1])
    if labels.is_floating_point() or labels.is_complex():
        raise InvalidArgument(f"{name} labels", "whole numbers", f"{labels.dtype}")
    if len(labels) != len(inputs):
        raise InvalidArgument(f"{name} labels", f"{len(inputs)} labels, one per input", f"{len(labels)}")
    if not len(inputs):
        raise InvalidArgument(name, "at least one sample", "none")
    return inputs, labels.to(inputs.device, torch.int64)
