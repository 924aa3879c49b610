"""What a user passes to a run, checked and as tensors before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from .. import checks
from ..arrays import UNLABELLED, as_tensor
from ..errors import GridMismatch, InvalidArgument
from .config import METHODS
from .terms import KD, NTK, CrossEntropy, KernelResidual, OutputMatching, SquaredError, Term

__all__ = ["check_classes", "hold_out", "labelled", "same_outputs", "terms_of", "with_unlabelled"]

FOR_CLASSES = (CrossEntropy, KD, KernelResidual)
FOR_NUMBERS = (SquaredError, OutputMatching)

HELD_OUT = 0.1
"""Fraction of the training data that validates when no validation data is given."""


def labelled(name: str, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels as tensors, from `photonet.data.Images` or a pair of arrays.

    Whole numbers are classes, floating-point numbers are to be regressed.

    Raises:
        InvalidArgument: neither of these, complex or infinite labels, or of another length.
    """
    if hasattr(data, "images") and hasattr(data, "labels"):
        data = (data.images, data.labels)
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InvalidArgument(name, "Images, or a pair (inputs, labels)", type(data).__name__)
    inputs = as_tensor(f"{name} inputs", data[0], least_dims=2)
    labels = torch.as_tensor(data[1].values if hasattr(data[1], "dims") else data[1])
    if labels.is_complex():
        raise InvalidArgument(f"{name} labels", "whole numbers or real ones", f"{labels.dtype}")
    if len(labels) != len(inputs):
        raise InvalidArgument(f"{name} labels", f"{len(inputs)} labels, one per input", f"{len(labels)}")
    if not len(inputs):
        raise InvalidArgument(name, "at least one sample", "none")
    if not labels.is_floating_point():
        return inputs, labels.to(inputs.device, torch.int64)
    return inputs, as_tensor(f"{name} labels", labels, least_dims=1).to(inputs)


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
    """
    more = as_tensor("unlabelled", unlabelled, least_dims=2).to(inputs)
    if more.shape[1:] != inputs.shape[1:]:
        raise GridMismatch("unlabelled", f"inputs {tuple(inputs.shape[1:])}", f"{tuple(more.shape[1:])}")
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
    terms = tuple(method)
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
    scale = float((targets - targets.mean(dim=0)).square().mean()) or 1.0
    if isinstance(term, CrossEntropy):
        return SquaredError(term.weight, term.schedule, scale)
    if isinstance(term, KD):
        return OutputMatching(term.weight, term.schedule, scale)
    return replace(term, centred=False) if isinstance(term, NTK) else term


def same_outputs(student: torch.Size, teacher: torch.Size) -> None:
    """Refuse a teacher whose outputs [1, classes, ...] have not the student's shape."""
    if student != teacher:
        expected, got = tuple(student[1:]), tuple(teacher[1:])
        raise GridMismatch("teacher", f"outputs {expected}, as the student's", f"{got}")


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
