"""What a user passes to a run, checked and as tensors before anything is computed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import checks
from ..arrays import UNLABELLED
from ..errors import GridMismatch, InvalidArgument
from .config import METHODS, TrainConfig
from .samples import as_samples, known, predict
from .terms import KD, NTK, CrossEntropy, KernelResidual, OutputMatching, SquaredError, Term

__all__ = [
    "check_classes",
    "check_guide",
    "check_kinds",
    "check_known",
    "folder_of",
    "for_student",
    "hold_out",
    "labelled",
    "outputs_of",
    "same_outputs",
    "terms_of",
    "validation",
    "with_unlabelled",
]

FOR_CLASSES = (CrossEntropy, KD, KernelResidual)
FOR_NUMBERS = (SquaredError, OutputMatching)

HELD_OUT = 0.1
"""Fraction of the training data that validates when no validation data is given."""


def check_kinds(student: Any, teacher: Any, config: Any, noise: Any) -> None:
    """Refuse what is no module, no settings or no function."""
    if not isinstance(student, nn.Module):
        raise InvalidArgument("student", "a torch module", type(student).__name__)
    check_guide(teacher, config)
    if noise is not None and not callable(noise):
        raise InvalidArgument("noise", "a function of model, inputs and generator, or None", repr(noise)[:80])


def check_guide(teacher: Any, config: Any) -> None:
    """Refuse a teacher that is no module, and what are no settings."""
    if teacher is not None and not isinstance(teacher, nn.Module):
        raise InvalidArgument("teacher", "a torch module, or None", type(teacher).__name__)
    if not isinstance(config, TrainConfig):
        raise InvalidArgument(
            "config", "a TrainConfig", type(config).__name__, "TrainConfig(epochs=3), for example"
        )


def folder_of(out: Any) -> Path | None:
    """The folder that ``out=`` names; it need not exist."""
    if out is None:
        return None
    if not isinstance(out, (str, os.PathLike)):
        raise InvalidArgument("out", "a folder", repr(out)[:80])
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("out", "a folder", f"the file {folder}")
    return folder


def labelled(name: str, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels as tensors, from `photonet.data.Images` or a pair of arrays.

    Labels that are whole numbers are classes, floating-point numbers are to be regressed. Inputs that are
    whole numbers stay so, for an embedding; bytes are pixels, of which 255 becomes 1.

    Raises:
        InvalidArgument: neither of these, complex or infinite labels, or of another length.
    """
    if hasattr(data, "images") and hasattr(data, "labels"):
        data = (data.images, data.labels)
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InvalidArgument(name, "Images, or a pair (inputs, labels)", type(data).__name__)
    inputs = as_samples(f"{name} inputs", data[0])
    if inputs.ndim < 2:
        raise InvalidArgument(f"{name} inputs", "samples [n, ...]", f"shape {tuple(inputs.shape)}")
    if data[1] is None:
        raise InvalidArgument(f"{name} labels", "a class or numbers for each input", None)
    labels = data[1].detach() if isinstance(data[1], torch.Tensor) else _numbers(name, data[1])
    if labels.is_complex() or not labels.ndim:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise InvalidArgument(f"{name} labels", "whole numbers or real ones, one row per input", got)
    if len(labels) != len(inputs):
        raise InvalidArgument(f"{name} labels", f"{len(inputs)} labels, one per input", f"{len(labels)}")
    if not len(inputs):
        raise InvalidArgument(name, "at least one sample", "none")
    if not labels.is_floating_point():
        return inputs, labels.to(inputs.device, torch.int64)
    dtype = inputs.dtype if inputs.is_floating_point() else labels.dtype
    checks.finite(f"{name} labels", torch.where(labels.isnan(), 0, labels))  # NaN is what is not known
    return inputs, labels.to(inputs.device, dtype)


def for_student(
    student: nn.Module, inputs: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Real numbers in the student's precision: those of NumPy are double by default, weights are not."""
    kinds = [p.dtype for p in student.parameters() if p.is_floating_point()]
    if not kinds or not inputs.is_floating_point() or inputs.dtype in kinds:
        return inputs, labels
    return inputs.to(kinds[0]), labels.to(kinds[0]) if labels.is_floating_point() else labels


def _numbers(name: str, labels: Any) -> torch.Tensor:
    """Labels of an array or a list, whole or not as they are; what is not known may be NaN."""
    array = np.asarray(labels)
    if array.dtype.kind not in "biufc":
        raise InvalidArgument(f"{name} labels", "numbers", f"an array of {array.dtype}")
    # torch reads neither foreign byte order nor negative strides
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=True))


def validation(val: Any, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels of ``val=``, of the kind and shape of those to train on.

    Raises:
        InvalidArgument: see `labelled`; or inputs or labels of another kind.
        GridMismatch: inputs of another shape.
    """
    val_inputs, val_labels = labelled("val", val)
    if val_labels.dtype.is_floating_point != labels.dtype.is_floating_point:
        raise InvalidArgument("val labels", f"{labels.dtype}, as in train", f"{val_labels.dtype}")
    return _alike("val inputs", val_inputs, inputs), val_labels.to(labels)


def _alike(name: str, more: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Further inputs in the precision of the first."""
    if more.shape[1:] != inputs.shape[1:]:
        raise GridMismatch(name, f"shape [n, {_sizes(inputs)}], as in train", f"[n, {_sizes(more)}]")
    if (more.dtype == torch.int64) != (inputs.dtype == torch.int64):
        raise InvalidArgument(name, f"{inputs.dtype}, as in train", f"{more.dtype}")
    return more.to(inputs)


def _sizes(inputs: torch.Tensor) -> str:
    return ", ".join(str(size) for size in inputs.shape[1:])


def hold_out(
    inputs: torch.Tensor, labels: torch.Tensor, seed: int
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """A random tenth that validates, and the rest to train on."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed)).to(inputs.device)
    count = max(1, int(HELD_OUT * len(inputs)))
    held, rest = order[:count], order[count:]
    return (inputs[held], labels[held]), (inputs[rest], labels[rest])


def with_unlabelled(
    inputs: torch.Tensor, labels: torch.Tensor, unlabelled: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The samples, followed by others without a label.

    Raises:
        GridMismatch: inputs of another shape.
        InvalidArgument: inputs of another kind.
    """
    more = _alike("unlabelled", as_samples("unlabelled", unlabelled), inputs)
    missing = math.nan if labels.is_floating_point() else UNLABELLED
    unknown = labels.new_full((len(more), *labels.shape[1:]), missing)
    return torch.cat([inputs, more]), torch.cat([labels, unknown])


def terms_of(method: str | Sequence[Term], labels: torch.Tensor) -> tuple[tuple[Term, ...], str]:
    """The terms of a loss and a name for them.

    A named method compares numbers by their squared error, over the variance of the training targets, and its
    kernels are not centred: what all outputs share counts.

    Raises:
        UnknownName: no such method.
        InvalidArgument: something else than terms, two of one kind, or terms for classes where the labels are
            numbers, and the other way round.
    """
    numbers = labels.is_floating_point()
    if isinstance(method, str):
        named = checks.lookup("method", method, METHODS)
        return (tuple(_for_numbers(term, labels) for term in named) if numbers else named), method
    if not isinstance(method, Iterable):
        raise InvalidArgument("method", "a name, or terms of different kinds", repr(method)[:80])
    terms: tuple[Any, ...] = tuple(method)
    names = [term.name for term in terms if isinstance(term, Term)]
    if len(names) < len(terms) or not names or len(set(names)) < len(names):
        raise InvalidArgument("method", "a name, or terms of different kinds", repr(method))
    for term in terms:
        if isinstance(term, FOR_CLASSES if numbers else FOR_NUMBERS):
            wanted = "numbers, SquaredError and OutputMatching" if numbers else "classes, CrossEntropy and KD"
            raise InvalidArgument("method", f"terms for labels that are {wanted}", type(term).__name__)
    return terms, "+".join(names)


def _for_numbers(term: Term, targets: torch.Tensor) -> Term:
    """The term that does for numbers what this one does for classes."""
    variance = float((targets - targets.nanmean(dim=0)).square().nanmean())
    scale = variance if variance > 0 else 1.0
    if isinstance(term, CrossEntropy):
        return SquaredError(term.weight, term.schedule, scale)
    if isinstance(term, KD):
        return OutputMatching(term.weight, term.schedule, scale)
    return replace(term, centred=False) if isinstance(term, NTK) else term


def outputs_of(name: str, model: nn.Module, inputs: torch.Tensor) -> torch.Size:
    """Shape [1, ...] of what a model says to one input.

    Raises:
        InvalidArgument: no tensor, or a model that does not take the inputs.
    """
    whole = inputs.dtype == torch.int64
    hint = "pass floating-point numbers where they are not the tokens of an embedding" if whole else ""
    got = "whole ones" if whole else f"shape {tuple(inputs.shape)} of {inputs.dtype}"
    with checks.reworded("train inputs", f"numbers that {name} takes", got, hint):
        return predict(model, inputs[:1], name=name).shape


def same_outputs(student: torch.Size, teacher: torch.Size) -> None:
    """Refuse a teacher whose outputs [1, classes, ...] have not the student's shape."""
    if student != teacher:
        expected, got = tuple(student[1:]), tuple(teacher[1:])
        raise GridMismatch("teacher", f"outputs {expected}, as the student's", f"{got}")


def check_known(name: str, labels: torch.Tensor, hint: str) -> None:
    """Refuse labels of which none is known."""
    if not bool(known(labels).any()):
        raise InvalidArgument(name, "at least one that is known", "none", hint)


def check_classes(name: str, labels: torch.Tensor, outputs: torch.Size) -> None:
    """Refuse labels that a student with the outputs [1, classes, ...] cannot give.

    Numbers to regress have the shape of the outputs.
    """
    if labels.is_floating_point():
        if labels.shape[1:] != outputs[1:]:
            shape = "".join(f", {n}" for n in outputs[1:])
            raise InvalidArgument(
                name, f"numbers of shape [n{shape}], as the student's outputs",
                f"{labels.dtype} of shape {tuple(labels.shape)}", "classes are whole numbers",
            )  # fmt: skip
        return
    if len(outputs) < 2:
        raise InvalidArgument("student", "outputs [n, classes, ...]", f"shape {tuple(outputs)}")
    classes = outputs[1]
    if labels.shape[1:] != outputs[2:]:
        raise InvalidArgument(
            name, f"shape [n{''.join(f', {n}' for n in outputs[2:])}], a class per output place",
            f"shape {tuple(labels.shape)}",
        )  # fmt: skip
    wrong = (labels != UNLABELLED) & ((labels < 0) | (labels >= classes))
    if bool(wrong.any()):
        got = f"{int(labels[wrong][0])} ({int(wrong.sum())} such labels)"
        raise InvalidArgument(name, f"classes 0 to {classes - 1}, the student's outputs", got)
