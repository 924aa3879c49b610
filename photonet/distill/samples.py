"""What a run learns from and is measured on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .. import checks
from ..arrays import UNLABELLED, as_tensor, batches
from ..errors import GridMismatch, InvalidArgument
from . import losses
from .teacher import Gram
from .terms import KD, Batch, CrossEntropy, OutputMatching, SquaredError, Term
from .views import Views

__all__ = [
    "Samples",
    "accuracy",
    "as_samples",
    "evaluate",
    "known",
    "labelled_samples",
    "mean_iou",
    "predict",
    "r_squared",
    "scores",
]

SUPERVISED = (CrossEntropy, KD, SquaredError, OutputMatching)

DECISIVE = ("val_miou", "val_accuracy", "val_r2")
"""Which of the `scores` tells the better of two runs: the first that was measured."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, and whichever targets the loss terms need.

    Args:
        inputs: [n, ...], what the model sees.
        labels: int64 [n, ...] or None; `photonet.data.UNLABELLED` where a class is not known. Numbers to
            regress are floating-point, in the shape of the outputs; NaN where one is not known.
        teacher: logits of the teacher for the same samples, or None.
        gram: of the teacher, see `tangent_gram`, or None.
        features: of the teacher, [n, ...], or None.
        views: other views of the inputs, drawn at every step, or None. The model is trained on the views,
            kernels are compared on the inputs themselves.
        ask: the teacher itself, in evaluation mode; asked at every step where ``teacher`` and ``features``
            do not hold (of views, or of a teacher that changes while the student learns).
    """

    inputs: torch.Tensor
    labels: torch.Tensor | None = None
    teacher: torch.Tensor | None = None
    gram: Gram | None = None
    features: torch.Tensor | None = None
    views: Views | None = None
    ask: nn.Module | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        known = ("labels", "teacher", "gram", "features", "views", "ask")
        given = [name for name in known if getattr(self, name) is not None]
        return (
            f"<Samples: {len(self)} inputs {list(self.inputs.shape[1:])}, {', '.join(given) or 'no targets'}>"
        )

    def has(self, need: str) -> bool:
        """Whether a term's need can be met."""
        if need in ("teacher", "features") and self.ask is not None:
            return True
        return getattr(self, "gram" if need == "kernel" else need) is not None


def known(labels: torch.Tensor) -> torch.Tensor:
    """Where a label is known: not `UNLABELLED`, and of numbers not NaN.

    Example:
        >>> known(torch.tensor([3, -100])), known(torch.tensor([3.0, torch.nan]))
        (tensor([ True, False]), tensor([ True, False]))
    """
    return ~labels.isnan() if labels.is_floating_point() else labels != UNLABELLED


def labelled_samples(labels: torch.Tensor) -> torch.Tensor:
    """Which samples [n] have a label, or a pixel that has one.

    Example:
        >>> labelled_samples(torch.tensor([[3, -100], [-100, -100]])).tolist()
        [True, False]
    """
    return known(labels).reshape(len(labels), -1).any(dim=1)


def as_samples(name: str, value: Any) -> torch.Tensor:
    """Inputs [n, ...] of any shape; bytes are divided by 255, as `photonet.arrays.as_pictures` does.

    Example:
        >>> as_samples("inputs", torch.tensor([[0, 255]], dtype=torch.uint8)).tolist()
        [[0.0, 1.0]]
    """
    found = as_tensor(name, value, whole=True).detach()
    return found / 255 if str(getattr(value, "dtype", "")).endswith("uint8") else found


def predict(
    model: nn.Module, inputs: Any, batch_size: int | None = None, *, name: str = "model"
) -> torch.Tensor:
    """Outputs of a model in evaluation mode, without gradients, in batches.

    Args:
        model: from inputs [b, ...] to one tensor of outputs [b, ...].
        inputs: [n, ...]; bytes are divided by 255, as in training.
        batch_size: by default 1,024 samples, and fewer where those are large.
        name: the model's, for the error.

    Raises:
        InvalidArgument: the model returns something else than one tensor.

    Example:
        >>> predict(nn.Linear(3, 2), torch.rand(5, 3)).shape
        torch.Size([5, 2])
    """
    if not isinstance(inputs, torch.Tensor) or inputs.dtype == torch.uint8:
        inputs = as_samples("inputs", inputs)
    if batch_size is not None:
        checks.count("batch_size", batch_size)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            outputs = [model(x) for x in batches(inputs, batch_size)]
    finally:
        for module in training:
            module.training = True
    if not isinstance(outputs[0], torch.Tensor):
        raise InvalidArgument(
            name, "a module that returns one tensor", f"a {type(outputs[0]).__name__}",
            "wrap it in a module whose forward returns the outputs alone",
        )  # fmt: skip
    return torch.cat(outputs)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Fraction of samples (or pixels) with a label whose largest output is the label's; NaN is never right.

    Raises:
        GridMismatch: logits and labels of other samples or sizes.

    Example:
        >>> accuracy(torch.eye(3), torch.tensor([0, 2, -100]))
        0.5
    """
    return float((_decided(logits, labels) == labels)[known(labels)].double().mean())


def _decided(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The class of the largest output, [n, ...] as the labels; one that does not exist where it is NaN."""
    if logits.ndim < 2 or (*logits.shape[:1], *logits.shape[2:]) != labels.shape:
        expected = f"{(*logits.shape[:1], *logits.shape[2:])}, as logits {tuple(logits.shape)}"
        raise GridMismatch("labels", f"shape {expected}", tuple(labels.shape))
    return torch.where(logits.isnan().any(dim=1), logits.shape[1], logits.argmax(dim=1))


def r_squared(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Part of the targets' variance that the outputs explain, the score of regression.

    One minus the squared error over the squared deviation of the targets from the mean of each output: 1 for
    the right answers, 0 for always answering the mean; not finite where the targets do not vary.

    Args:
        outputs: [n, ...].
        targets: of the same shape; NaN where the number is not known.

    Raises:
        GridMismatch: targets of another shape.

    Example:
        >>> r_squared(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [4.0]]))  # 1 - 2 / 8
        0.75
    """
    outputs, targets = torch.as_tensor(outputs), torch.as_tensor(targets)
    deviation = (targets - targets.nanmean(dim=0)).square().nansum(dtype=torch.float64)
    count = (~targets.isnan()).sum()
    return 1 - float(losses.squared_error(outputs.double(), targets.double()) * count / deviation)


def scores(outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """What is measured on held-out data, by name: the higher, the better; nothing where no label is known.

    ``val_r2`` of numbers, ``val_accuracy`` of classes, and ``val_miou`` too where each place has a class.

    Example:
        >>> scores(torch.eye(3)[None], torch.tensor([[0, 1, 1]]))
        {'val_accuracy': 0.6666666666666666, 'val_miou': 0.5}
    """
    if not bool(known(labels).any()):
        return {}
    if labels.is_floating_point():
        return {"val_r2": r_squared(outputs, labels)}
    found = {"val_accuracy": accuracy(outputs, labels)}
    return found | {"val_miou": mean_iou(outputs, labels)} if labels.ndim > 1 else found


def mean_iou(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over the classes of intersection over union, the score of segmentation.

    Pixels of all scenes are counted together; those without a label count nowhere, and a class that is
    neither there nor predicted is left out of the mean (Everingham et al.,
    Int. J. Comput. Vis. 111, 98, 2015).

    Args:
        logits: [n, classes, ...].
        labels: int64 [n, ...]; `photonet.data.UNLABELLED` where a class is not known.

    Raises:
        GridMismatch: logits and labels of other scenes or sizes.
        InvalidArgument: no pixel has a label, or one has a label that is no class.

    Example:
        >>> seen = torch.nn.functional.one_hot(torch.tensor([[0, 0, 1, 1]])).movedim(-1, 1)
        >>> round(mean_iou(seen, torch.tensor([[0, 0, 0, 1]])), 4)  # 2 / 3 and 1 / 2
        0.5833
    """
    predicted, classes = _decided(logits, labels), logits.shape[1]
    there = known(labels)
    found = labels[there]
    if not len(found):
        raise InvalidArgument("labels", "at least one label", "none")
    if found.is_floating_point() or bool(((found < 0) | (found >= classes)).any()):
        got = f"{found.dtype} from {found.min().item()} to {found.max().item()}"
        raise InvalidArgument("labels", f"classes 0 to {classes - 1}", got)
    # what is NaN is no class: one more column, that of nothing
    counts = torch.bincount(found * (classes + 1) + predicted[there], minlength=classes * (classes + 1))
    table = counts.reshape(classes, classes + 1).double()
    both = table.diagonal()
    either = table.sum(dim=0)[:classes] + table.sum(dim=1) - both
    return float((both[either > 0] / either[either > 0]).mean())


def evaluate(logits: torch.Tensor, samples: Samples, terms: Iterable[Term], temperature: float) -> float:
    """The part of the loss that compares outputs with labels and teacher, on held-out samples."""
    batch = Batch(logits, samples.labels, samples.teacher, temperature)
    known = {"labels": samples.labels is not None, "teacher": samples.teacher is not None}
    return sum(
        term.weight * float(term(batch))
        for term in terms
        if isinstance(term, SUPERVISED) and term.weight and all(known[need] for need in term.needs)
    )
