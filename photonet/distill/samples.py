"""What a run learns from and is measured on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from .. import checks
from ..arrays import UNLABELLED, batches
from ..errors import GridMismatch, InvalidArgument
from . import losses
from .teacher import Gram
from .terms import KD, Batch, CrossEntropy, OutputMatching, SquaredError, Term
from .views import Views

__all__ = ["Samples", "accuracy", "evaluate", "known", "mean_iou", "predict", "r_squared", "scores"]

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


def predict(
    model: nn.Module, inputs: torch.Tensor, batch_size: int | None = None, *, name: str = "model"
) -> torch.Tensor:
    """Outputs of a model in evaluation mode, without gradients, in batches.

    Args:
        model: from inputs [b, ...] to one tensor of outputs [b, ...].
        inputs: [n, ...].
        batch_size: by default 1,024 samples, and fewer where those are large.
        name: the model's, for the error.

    Raises:
        InvalidArgument: the model returns something else than one tensor.

    Example:
        >>> predict(nn.Linear(3, 2), torch.rand(5, 3)).shape
        torch.Size([5, 2])
    """
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
    """Fraction of samples (or pixels) with a label whose largest output is the label's."""
    known = labels != UNLABELLED
    return float((logits.argmax(dim=1) == labels)[known].double().mean())


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
        InvalidArgument: no pixel has a label.

    Example:
        >>> seen = torch.nn.functional.one_hot(torch.tensor([[0, 0, 1, 1]])).movedim(-1, 1)
        >>> round(mean_iou(seen, torch.tensor([[0, 0, 0, 1]])), 4)  # 2 / 3 and 1 / 2
        0.5833
    """
    predicted, classes = logits.argmax(dim=1), logits.shape[1]
    if predicted.shape != labels.shape:
        raise GridMismatch("labels", f"shape {tuple(predicted.shape)}, as the logits", tuple(labels.shape))
    known = labels != UNLABELLED
    if not known.any():
        raise InvalidArgument("labels", "at least one label", "none")
    counts = torch.bincount(labels[known] * classes + predicted[known], minlength=classes**2)
    table = counts.reshape(classes, classes).double()
    both, either = table.diagonal(), table.sum(dim=0) + table.sum(dim=1) - table.diagonal()
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
