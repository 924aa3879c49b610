"""The training loop that distillation and correction share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..errors import InvalidArgument, TrainingDiverged
from ..progress import track
from .batch_norm import common_statistics
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig
from .noise import Noise
from .parallel import Processes
from .samples import Samples, evaluate, labelled_samples, predict, scores
from .step import Step, reseed
from .terms import Term, needs
from .trajectory import Trajectory

if TYPE_CHECKING:
    import xarray as xr
    from lightning.fabric import Fabric

__all__ = ["EachEpoch", "fit", "history_of"]

EachEpoch = Callable[[list[dict[str, float]]], None]
"""What is told of each finished epoch: the rows of the history so far, one an epoch."""


@torch.enable_grad()
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
    noise: Noise | None = None,
    fabric: Fabric | None = None,
    each_epoch: EachEpoch | None = None,
) -> xr.Dataset:
    """Train the parameters of ``model`` that require a gradient, in place.

    AdamW with one learning-rate cycle. The order of the samples, the views, the noise and the random NTK
    directions of an epoch depend on the seed and the epoch alone, so a run resumed from a checkpoint ends
    where the uninterrupted one does. Both kernels are taken along the same random directions. A batch that is
    computed in parts, by several processes or one after the other, gives the gradient of the whole batch.
    Parts in evaluation mode of a model in training mode (batch normalisation that is frozen) stay so.

    Args:
        model: trained in place.
        train: samples with the targets that ``terms`` ask for.
        val: held-out samples; measured after each epoch, without noise, never trained on.
        terms: of the loss, see `METHODS`; one whose weight is 0 at a step is not computed there.
        config: see `TrainConfig`.
        seed: of the order of samples, of the views, of the noise and of the directions.
        checkpoint: file that is written after each epoch and resumed from when it is there.
        run_hash: names the run; a checkpoint with another one is refused.
        description: for the progress bar.
        noise: runs the model as a device at each step, see `photonet.distill.noise`.
        fabric: a launched `lightning.Fabric`, for several processes or mixed precision; each process has
            the same model, data and seed, and the first one writes the checkpoint.
        each_epoch: told of each epoch, in the first process.

    Returns:
        History: a Dataset over ``epoch`` with the mean of each loss term, the validation loss and the
        `scores` on validation data. A term of labels is averaged over the samples that have one.

    Raises:
        InvalidArgument: nothing to train, targets that the terms need are missing, or a batch that cannot
            be divided.
        TrainingDiverged: a loss term or a weight became NaN or infinite; the checkpoint is that of the epoch
            before.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InvalidArgument(
            "student", "at least one parameter that requires a gradient", "none", "unfreeze a part"
        )
    terms = [term for term in terms if term.weight]
    for need in sorted(needs(terms)):
        if not train.has(need):
            raise InvalidArgument(
                "train", f"{need} for the terms of the loss", "nothing", "choose another method"
            )
    batch_size = min(config.batch_size, len(train))
    if batch_size < 2 and needs(terms) & {"gram", "features", "kernel"}:
        raise InvalidArgument("batch_size", "2 or more samples to match kernels", batch_size)
    steps = len(train) // batch_size
    total = max(config.epochs * steps, 2)
    device = train.inputs.device
    processes = Processes(fabric)
    processes.rows(batch_size)
    frozen = _frozen(model)
    model.train()
    processes.check(model, config.accumulate)
    step = Step(model, train, terms, config.temperature, noise, processes, config.accumulate)

    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=total)
    rows: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        rows = load_checkpoint(checkpoint, model, optimizer, cycle, run_hash)

    own_devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(own_devices), common_statistics(model, processes.count):
        for epoch in track(range(len(rows), config.epochs), description):
            epoch_seed = _mix(seed, epoch)
            generator = torch.Generator().manual_seed(epoch_seed)
            reseed(model, epoch_seed)
            order = torch.randperm(len(train), generator=generator).to(device)
            values = torch.zeros(steps, len(terms), device=device, dtype=torch.float64)
            weights = torch.zeros(steps, len(terms), dtype=torch.float64)
            largest = torch.zeros(steps, device=device, dtype=torch.float64)
            told = torch.ones(steps, device=device, dtype=torch.float64)  # part of each batch with a label
            model.train()
            for module in frozen:
                module.training = False
            for number, chosen in enumerate(order[: steps * batch_size].split(batch_size)):
                progress = (epoch * steps + number) / total
                now = [term.weight_at(progress) for term in terms]
                weights[number] = torch.tensor(now)
                if isinstance(train.ask, Trajectory):
                    train.ask.at(progress)
                optimizer.zero_grad(set_to_none=True)
                if wanted := step.wanted(now):
                    query = step.draw(chosen, wanted, generator, _mix(epoch_seed, number))
                    values[number] = step.gradients(query, wanted, now)
                    if query.labels is not None:
                        told[number] = labelled_samples(query.labels).double().mean()
                optimizer.step()
                cycle.step()
                largest[number] = nn.utils.get_total_norm([p.detach() for p in parameters], math.inf)
            names = [term.name for term in terms]
            _check_finite(values, largest, names, epoch, checkpoint)
            counted = (weights > 0).to(told)
            for column, term in enumerate(terms):
                if "labels" in term.needs:
                    counted[:, column] *= told
            means = ((counted * values).sum(0) / counted.sum(0)).tolist()  # 0 / 0 = NaN: not computed
            rows.append(
                {**dict(zip(names, means, strict=True)), **_validate(model, val, terms, config.temperature)}
            )
            if processes.first:
                if each_epoch is not None:  # before the checkpoint: what is resumed has been told of all
                    each_epoch(rows)
                if checkpoint is not None:
                    save_checkpoint(checkpoint, model, optimizer, cycle, rows, run_hash)
        reseed(model, _mix(seed, config.epochs))  # noise inside is the same after a run that was resumed
    model.eval()
    return history_of(rows)


def _frozen(model: nn.Module) -> list[nn.Module]:
    """Parts in evaluation mode of a model that is to be trained; none of one that comes from prediction.

    A container made around such parts is in training mode, as all that is new, but none of its layers is.
    """
    modules = list(model.modules())
    layers = [module for module in modules if next(module.parameters(recurse=False), None) is not None]
    if not model.training or not any(layer.training for layer in layers):
        return []
    return [module for module in modules if not module.training]


def _mix(seed: int, number: int) -> int:
    """A seed for each number; those of neighbouring seeds and numbers do not collide."""
    return (seed * 1_000_003 + number) % 2**63


def _validate(model: nn.Module, val: Samples, terms: Sequence[Term], temperature: float) -> dict[str, float]:
    logits = predict(model, val.inputs)
    row = {"val_loss": evaluate(logits, val, terms, temperature)}
    return row if val.labels is None else row | scores(logits, val.labels)


def _check_finite(
    values: torch.Tensor, largest: torch.Tensor, names: list[str], epoch: int, checkpoint: Path | None
) -> None:
    """Refuse terms [steps, terms] that are not finite, and weights: a finite loss may have a NaN gradient."""
    # once an epoch: asking after each step would make a GPU wait
    table = torch.cat([values, largest[:, None]], dim=1)
    bad = (~torch.isfinite(table)).nonzero()
    if len(bad):
        step, column = (int(i) for i in bad[0])
        what = [*(f"the term {name!r}" for name in names), "the largest weight"][column]
        last = (
            f"the last good state is {checkpoint}"
            if checkpoint is not None and epoch
            else "no good state was saved"
        )
        raise TrainingDiverged(
            f"{what} became {float(table[step, column])} in epoch {epoch + 1}, "
            f"step {step + 1}; {last}; lower lr or scale the term"
        )


def history_of(rows: Sequence[dict[str, float]]) -> xr.Dataset:
    """The rows of a run's epochs, labelled."""
    import xarray as xr

    table = {name: ("epoch", [row[name] for row in rows]) for name in rows[0]}
    return xr.Dataset(table, coords={"epoch": range(1, len(rows) + 1)})
