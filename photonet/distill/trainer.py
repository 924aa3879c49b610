"""The training loop that distillation and correction share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import ntk
from ..errors import InvalidArgument, TrainingDiverged
from ..progress import track
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig
from .losses import UNLABELLED
from .teacher import Gram, penultimate
from .terms import KD, NTK, Batch, CrossEntropy, Term, needs
from .views import Views, seen_through

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Samples", "accuracy", "evaluate", "fit", "predict"]


@dataclass(frozen=True)
class Samples:
    """What a run learns from: inputs, and whichever targets its loss terms need.

    Args:
        inputs: [n, ...], what the model sees.
        labels: int64 [n, ...] or None; `losses.UNLABELLED` where a class is not known.
        teacher: logits of the teacher for the same samples, or None.
        gram: of the teacher, see `tangent_gram`, or None.
        features: of the teacher, [n, ...], or None.
        views: other views of the inputs, drawn at every step, or None. The model is trained on the views,
            kernels are compared on the inputs themselves.
        ask: the teacher itself, in evaluation mode; asked for each view, as ``teacher`` and ``features``
            do not hold there.
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
        if isinstance(term, (CrossEntropy, KD)) and term.weight and known[term.need]
    )


def fit(
    model: nn.Module,
    train: Samples,
    val: Samples,
    terms: Sequence[Term],
    config: TrainConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    run_hash: str = "",
    description: str = "training",
) -> xr.Dataset:
    """Train the parameters of ``model`` that require a gradient, in place.

    AdamW with one learning-rate cycle. The order of the samples, the views and the random NTK
    directions of an epoch depend on the seed and the epoch alone, so a run resumed from a checkpoint ends
    where the uninterrupted one does. Both kernels are taken along the same random direction.

    Args:
        model: trained in place.
        train: samples with the targets that ``terms`` ask for.
        val: held-out samples; measured after each epoch, never trained on.
        terms: of the loss, see `METHODS`.
        config: see `TrainConfig`.
        seed: of the order of samples, of the views and of the directions.
        checkpoint: file that is written after each epoch and resumed from when it is there.
        run_hash: names the run; a checkpoint with another one is refused.
        description: for the progress bar.

    Returns:
        History: a Dataset over ``epoch`` with the mean of each loss term, the validation loss and the
        validation accuracy.

    Raises:
        InvalidArgument: nothing to train, or targets that the terms need are missing.
        TrainingDiverged: a loss term became NaN or infinite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InvalidArgument(
            "student", "at least one parameter that requires a gradient", "none", "unfreeze a part"
        )
    terms = [term for term in terms if term.weight]
    for need in sorted(needs(terms)):
        if getattr(train, need) is None and not (train.ask is not None and need in ("teacher", "features")):
            raise InvalidArgument(
                "train", f"{need} for the terms of the loss", "nothing", "choose another method"
            )
    outputs = predict(model, train.inputs[:1])[0].numel()
    # samples that a batch normalisation mixes need a forward pass of their own beside that of the kernel
    independent = not any(isinstance(module, _BatchNorm) for module in model.modules())
    batch_size = min(config.batch_size, len(train))
    if batch_size < 2 and needs(terms) & {"gram", "features"}:
        raise InvalidArgument("batch_size", "2 or more samples to match kernels", batch_size)
    steps = len(train) // batch_size
    total = max(config.epochs * steps, 2)
    device = train.inputs.device

    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=total)
    rows: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        rows = load_checkpoint(checkpoint, model, optimizer, cycle, run_hash)

    for epoch in track(range(len(rows), config.epochs), description):
        # seeds of neighbouring runs and epochs must not collide, so both go through a hash-like mix
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(train), generator=generator).to(device)
        values = torch.zeros(steps, len(terms), device=device, dtype=torch.float64)
        model.train()
        for step, chosen in enumerate(order[: steps * batch_size].split(batch_size)):
            batch = _batch(model, train, chosen, terms, config.temperature, generator, outputs, independent)
            progress = (epoch * steps + step) / total
            loss = torch.zeros((), device=device)
            for index, term in enumerate(terms):
                value = term(batch)
                values[step, index] = value.detach()
                loss = loss + term.weight_at(progress) * value
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            cycle.step()
        names = [term.name for term in terms]
        _check_finite(values, names, epoch, checkpoint)
        means = dict(zip(names, values.mean(dim=0).tolist(), strict=True))
        rows.append({**means, **_validate(model, val, terms, config.temperature)})
        if checkpoint is not None:
            save_checkpoint(checkpoint, model, optimizer, cycle, rows, run_hash)
    model.eval()
    return _history(rows)


def _batch(
    model: nn.Module,
    train: Samples,
    chosen: torch.Tensor,
    terms: Sequence[Term],
    temperature: float,
    generator: torch.Generator,
    outputs: int,
    independent: bool,
) -> Batch:
    """The forward passes of one step: whatever the terms compare, and nothing else."""
    wanted = needs(terms)
    plain = train.inputs[chosen]
    labels = train.labels[chosen] if train.labels is not None else None
    seen, labels = seen_through(train.views, plain, labels, generator)
    grams = None
    if "gram" in wanted and train.gram is not None:
        kernel = next(term for term in terms if isinstance(term, NTK))
        params = (
            [p for p in model.parameters() if p.requires_grad] if kernel.params is None else kernel.params
        )
        directions = _direction(outputs, kernel.centred, generator, plain)
        with ntk.frozen_statistics(model) as frozen:
            logits, gram = ntk.forward_gram(frozen, plain, outputs=directions, params=params)
        grams = gram, train.gram(chosen, directions)
    if "features" in wanted:
        logits, features = penultimate(model, seen)
    elif grams is None or seen is not plain or not independent:
        logits = model(seen)
    batch = Batch(logits, labels, temperature=temperature, grams=grams)
    if train.ask is not None and wanted & {"teacher", "features"}:
        with torch.no_grad():
            if "features" in wanted:
                batch.teacher, asked = penultimate(train.ask, seen)
                batch.features = features, asked
            else:
                batch.teacher = train.ask(seen)
    else:
        batch.teacher = train.teacher[chosen] if train.teacher is not None else None
        if "features" in wanted and train.features is not None:
            batch.features = features, train.features[chosen]
    return batch


def _direction(outputs: int, centred: bool, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    if not centred or outputs < 2:
        return ntk.random_directions(outputs, generator, like=like)
    direction = ntk.centred_directions(outputs, generator=generator)
    while not direction.any():  # all signs alike, which is every second draw for two classes
        direction = ntk.centred_directions(outputs, generator=generator)
    return direction.to(like)


def _validate(model: nn.Module, val: Samples, terms: Sequence[Term], temperature: float) -> dict[str, float]:
    logits = predict(model, val.inputs)
    row = {"val_loss": evaluate(logits, val, terms, temperature)}
    if val.labels is not None:
        row["val_accuracy"] = accuracy(logits, val.labels)
    return row


def _check_finite(values: torch.Tensor, names: list[str], epoch: int, checkpoint: Path | None) -> None:
    # once an epoch: asking after each step would make a GPU wait
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        step, term = (int(i) for i in bad[0])
        last = (
            f"the last good state is {checkpoint}"
            if checkpoint is not None and epoch
            else "no good state was saved"
        )
        raise TrainingDiverged(
            f"the term {names[term]!r} became {float(values[step, term])} in epoch {epoch}, step {step}; "
            f"{last}; lower lr or scale the term"
        )


def _history(rows: list[dict[str, float]]) -> xr.Dataset:
    import xarray as xr

    table = {name: ("epoch", [row[name] for row in rows]) for name in rows[0]}
    return xr.Dataset(table, coords={"epoch": range(1, len(rows) + 1)})
