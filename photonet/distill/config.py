"""What can be set in a training run: checked when it is made, written beside every result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from .. import checks
from .terms import KD, NTK, CrossEntropy, Features, Term

__all__ = ["METHODS", "TrainConfig"]

METHODS: dict[str, tuple[Term, ...]] = {
    "ce": (CrossEntropy(),),
    "kd": (CrossEntropy(0.1), KD(0.9)),
    "features": (CrossEntropy(), Features()),
    "ntkd-paper": (CrossEntropy(), NTK()),
    "ntkd": (CrossEntropy(0.1), KD(0.9), NTK(0.1, form="cka", centred=True)),
}
"""The terms of each method.

``ntkd-paper`` is the published loss (task + NTK matching, Eq. 9 of arXiv 2508.08421) with each Gram over its
mean diagonal; ``(CrossEntropy(), NTK(form="raw"))`` is the published scale. ``ntkd`` is the default.
"""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `photonet.distill` and `photonet.correct`.

    Args:
        epochs: passes over the training data, each in another order. A pass leaves out the last batch where
            that is not whole.
        batch_size: samples per step; no more than there are. Of a small set choose one that divides the
            number of samples, or is a few percent of it: of 225 samples in batches of 128 each pass shows
            128, so that 97 learn nothing from it.
        lr: peak learning rate of AdamW; one cycle (warm-up over the first 30 %, then cosine to zero).
        weight_decay: decoupled weight decay.
        temperature: of knowledge distillation.
        accumulate: parts in which a batch is computed one after the other, to save memory. The gradient is
            that of the whole batch, kernels included; it costs one more forward pass.

    Raises:
        InvalidArgument: a value outside its range, with its name.

    Example:
        >>> TrainConfig(epochs=3).hash() == TrainConfig(epochs=4).hash()
        False
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.05
    temperature: float = 4.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        checks.count("epochs", self.epochs)
        checks.count("batch_size", self.batch_size)
        checks.positive("lr", self.lr)
        checks.non_negative("weight_decay", self.weight_decay)
        checks.positive("temperature", self.temperature)
        checks.count("accumulate", self.accumulate)

    def as_dict(self) -> dict[str, float | int | str]:
        """Plain values, for JSON and for the attributes of results."""
        return dataclasses.asdict(self)

    def hash(self) -> str:
        """Twelve hexadecimal digits that change with every setting."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
