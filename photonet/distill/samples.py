"""What a run learns from and is measured on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from ..arrays import UNLABELLED
from .teacher import Gram
from .terms import KD, Batch, CrossEntropy, Term
from .views import Views

__all__ = ["Samples", "accuracy", "evaluate", "predict"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, and whichever targets the loss terms need.

    Args:
        inputs: [n, ...], what the model sees.
        labels: int64 [n, ...] or None; `photonet.data.UNLABELLED` where a class is not known.
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


def predict(model: nn.Module, inputs: torch.Tensor, batch_size: int = 1024) -> torch.Tensor:
    """Outputs of a model in evaluation mode, without gradients, in batches."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(x) for x in inputs.split(batch_size)])
    model.train(was_training)
    return outputs


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Fraction of samples (or pixels) with a label whose largest output is the label's."""
    known = labels != UNLABELLED
    return float((logits.argmax(dim=1) == labels)[known].double().mean())


def evaluate(logits: torch.Tensor, samples: Samples, terms: Iterable[Term], temperature: float) -> float:
    """The supervised part of the loss (cross-entropy and distillation) of outputs on held-out samples."""
    batch = Batch(logits, samples.labels, samples.teacher, temperature)
    known = {"labels": samples.labels is not None, "teacher": samples.teacher is not None}
    return sum(
        term.weight * float(term(batch))
        for term in terms
        if isinstance(term, (CrossEntropy, KD)) and term.weight and all(known[need] for need in term.needs)
    )
