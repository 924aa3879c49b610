"""The training loop that distillation and correction share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from .. import ntk
from ..errors import InvalidArgument, TrainingDiverged
from ..progress import track
from . import losses
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Samples", "accuracy", "evaluate", "fit", "predict"]

TERMS = ("ce", "kd", "ntk")


@dataclass(frozen=True)
class Samples:
    """What a run learns from: inputs, and whichever targets its loss terms need.

    Args:
        inputs: [n, ...], what the model sees.
        labels: int64 [n, ...] or None.
        teacher: logits of the teacher for the same samples, or None.
        gram: function of sample indices [b] to the teacher's Gram [b, b], or None.
    """

    inputs: torch.Tensor
    labels: torch.Tensor | None = None
    teacher: torch.Tensor | None = None
    gram: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.inputs)


def predict(model: nn.Module, inputs: torch.Tensor, batch_size: int = 1024) -> torch.Tensor:
    """Outputs of a model in evaluation mode, without gradients, in batches."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(x) for x in inputs.split(batch_size)])
    model.train(was_training)
    return outputs


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Fraction of samples (or pixels) whose largest output is the label's."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def evaluate(
    model: nn.Module, samples: Samples, weights: tuple[float, float, float], temperature: float
) -> float:
    """The supervised part of the loss (cross-entropy and distillation) on held-out samples."""
    logits = predict(model, samples.inputs)
    loss = 0.0
    if weights[0] and samples.labels is not None:
        loss += weights[0] * float(losses.cross_entropy(logits, samples.labels))
    if weights[1] and samples.teacher is not None:
        loss += weights[1] * float(losses.kd(logits, samples.teacher, temperature))
    return loss


def fit(
    model: nn.Module,
    train: Samples,
    val: Samples,
    weights: tuple[float, float, float],
    config: TrainConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    run_hash: str = "",
    description: str = "training",
) -> xr.Dataset:
    """Train the parameters of ``model`` that require a gradient, in place.

    AdamW with one learning-rate cycle. The order of the samples and the random NTK directions of an
    epoch depend on the seed and the epoch alone, so a run resumed from a checkpoint ends where the
    uninterrupted one does. With matched Grams the student's is taken in one random direction +-1 per
    step, an unbiased estimate of the trace kernel.

    Args:
        model: trained in place.
        train: samples with the targets that ``weights`` ask for.
        val: held-out samples; measured after each epoch, never trained on.
        weights: of cross-entropy, distillation and NTK matching.
        config: see `TrainConfig`.
        seed: of the order of samples and of the directions.
        checkpoint: file that is written after each epoch and resumed from when it is there.
        run_hash: names the run; a checkpoint with another one is refused.
        description: for the progress bar.

    Returns:
        History: a Dataset over ``epoch`` with the mean of each loss term, the validation loss and the
        validation accuracy.

    Raises:
        InvalidArgument: nothing to train, or targets that the method needs are missing.
        TrainingDiverged: a loss term became NaN or infinite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InvalidArgument(
            "student", "at least one parameter that requires a gradient", "none", "unfreeze a part"
        )
    for weight, target, name in zip(weights, (train.labels, train.teacher, train.gram), TERMS, strict=True):
        if weight and target is None:
            raise InvalidArgument(
                "train", f"what the term {name!r} compares with", "nothing", "choose another method"
            )
    batch_size = min(config.batch_size, len(train))
    if weights[2] and batch_size < 2:
        raise InvalidArgument("batch_size", "2 or more samples to match kernels", batch_size)
    steps = len(train) // batch_size
    device = train.inputs.device

    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=max(config.epochs * steps, 2)
    )
    rows: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        rows = load_checkpoint(checkpoint, model, optimizer, cycle, run_hash)

    for epoch in track(range(len(rows), config.epochs), description):
        # seeds of neighbouring runs and epochs must not collide, so both go through a hash-like mix
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(train), generator=generator).to(device)
        terms = torch.zeros(steps, len(TERMS), device=device, dtype=torch.float64)
        model.train()
        for step, batch in enumerate(order[: steps * batch_size].split(batch_size)):
            loss = torch.zeros((), device=device)
            if weights[2] and train.gram is not None:
                logits, gram = ntk.forward_gram(
                    model, train.inputs[batch], params=parameters, generator=generator
                )
                term = config.ntk_weight * losses.ntk_matching(gram, train.gram(batch), config.ntk_form)
                terms[step, 2] = term.detach()
                loss = loss + weights[2] * term
            else:
                logits = model(train.inputs[batch])
            if weights[0] and train.labels is not None:
                term = losses.cross_entropy(logits, train.labels[batch])
                terms[step, 0] = term.detach()
                loss = loss + weights[0] * term
            if weights[1] and train.teacher is not None:
                term = losses.kd(logits, train.teacher[batch], config.temperature)
                terms[step, 1] = term.detach()
                loss = loss + weights[1] * term
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            cycle.step()
        _check_finite(terms, epoch, checkpoint)
        means = dict(zip(TERMS, terms.mean(dim=0).tolist(), strict=True))
        rows.append({**means, **_validate(model, val, weights, config.temperature)})
        if checkpoint is not None:
            save_checkpoint(checkpoint, model, optimizer, cycle, rows, run_hash)
    model.eval()
    return _history(rows)


def _validate(
    model: nn.Module, val: Samples, weights: tuple[float, float, float], temperature: float
) -> dict[str, float]:
    row = {"val_loss": evaluate(model, val, weights, temperature)}
    if val.labels is not None:
        row["val_accuracy"] = accuracy(predict(model, val.inputs), val.labels)
    return row


def _check_finite(terms: torch.Tensor, epoch: int, checkpoint: Path | None) -> None:
    # once an epoch: asking after each step would make a GPU wait
    bad = (~torch.isfinite(terms)).nonzero()
    if len(bad):
        step, term = (int(i) for i in bad[0])
        last = (
            f"the last good state is {checkpoint}"
            if checkpoint is not None and epoch
            else "no good state was saved"
        )
        raise TrainingDiverged(
            f"the term {TERMS[term]!r} became {float(terms[step, term])} in epoch {epoch}, step {step}; "
            f"{last}; lower lr or scale the term"
        )


def _history(rows: list[dict[str, float]]) -> xr.Dataset:
    import xarray as xr

    names = rows[0].keys()
    table = {name: ("epoch", [row[name] for row in rows]) for name in names}
    return xr.Dataset(table, coords={"epoch": range(1, len(rows) + 1)})
