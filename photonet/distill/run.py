"""`distill`: one call from a digital teacher and an optical student to a trained student."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
from .teacher import tangent_gram
from .trainer import Samples, accuracy, fit, predict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Distilled", "distill", "labelled"]

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
        """Write ``student.safetensors``, ``history.nc`` and ``run.json`` into a folder; returns it."""
        from safetensors.torch import save_file

        folder = Path(folder)
        with atomic_path(folder / "student.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in self.student.state_dict().items()}, temporary)
        with atomic_path(folder / "history.nc") as temporary:
            self.history.to_netcdf(temporary, engine="h5netcdf")
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
    method: str = "ntkd",
    config: TrainConfig | None = None,
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
    ``ntkd-paper``  cross-entropy + matching of neural tangent kernels (arXiv 2508.08421, Eq. 9)
    ``ntkd``        distillation + matching of neural tangent kernels; the default
    ==============  ==================================================================================

    Args:
        student: any module; samples must not mix in it (no batch normalisation in training mode when
            kernels are matched).
        teacher: any module with the student's outputs; None for ``ce``.
        train: `photonet.data.Images`, or a pair of inputs [n, ...] and labels [n] (tensor, array or xarray).
        val: the same; by default a tenth of ``train`` is held out.
        method: one of the table.
        config: see `TrainConfig`.
        out: folder for a checkpoint after each epoch.
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
    weights = checks.lookup("method", method, METHODS)
    config = config or TrainConfig()
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
    if len(inputs) < 2:
        raise InvalidArgument("train", "two or more samples after the validation split", len(inputs))
    if teacher is None and (weights[1] or weights[2]):
        raise InvalidArgument(
            "teacher", f"a torch module for the method {method!r}", None, "use method='ce' without one"
        )

    targets = _targets(student, teacher, inputs, weights)
    samples = Samples(inputs, labels, *targets)
    val_logits = predict(teacher, val_inputs) if teacher is not None and weights[1] else None
    settings = {
        **config.as_dict(),
        "method": method,
        "seed": seed,
        "data": tensor_hash(inputs, labels),
        "teacher": state_hash(teacher.state_dict()) if teacher is not None else "none",
        "student": state_hash(student.state_dict()),
    }
    run_hash = config_hash(settings)
    checkpoint = Path(out) / "checkpoint.safetensors" if out is not None else None
    if checkpoint is not None and not resume:
        checkpoint.unlink(missing_ok=True)
    history = fit(
        student,
        samples,
        Samples(val_inputs, val_labels, val_logits),
        weights,
        config,
        seed=seed,
        checkpoint=checkpoint,
        run_hash=run_hash,
        description=f"distilling ({method})",
    )
    history.attrs |= provenance(run=run_hash, **settings)
    metrics = {"val_accuracy": accuracy(predict(student, val_inputs), val_labels)}
    return Distilled(student, history, metrics, settings)


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
    return inputs, labels.to(inputs.device, torch.int64)


def _targets(
    student: nn.Module, teacher: nn.Module | None, inputs: torch.Tensor, weights: tuple[float, float, float]
) -> tuple[torch.Tensor | None, Any]:
    """Teacher's logits and Gram for the training inputs, each only if the method uses it."""
    if teacher is None or not (weights[1] or weights[2]):
        return None, None
    logits = predict(teacher, inputs)
    expected = predict(student, inputs[:1]).shape[1:]
    if logits.shape[1:] != expected:
        raise GridMismatch(
            "teacher", f"outputs {tuple(expected)}, as the student's", f"{tuple(logits.shape[1:])}"
        )
    return logits if weights[1] else None, tangent_gram(teacher, inputs) if weights[2] else None
