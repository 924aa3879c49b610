"""`distill`: one call from a digital teacher and an optical student to a trained student."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument, TrainingDiverged
from ..provenance import config_hash, module_hash, provenance, tensor_hash
from .config import TrainConfig
from .inputs import (
    check_classes,
    check_kinds,
    check_known,
    folder_of,
    for_student,
    hold_out,
    labelled,
    outputs_of,
    same_outputs,
    terms_of,
    validation,
    with_unlabelled,
)
from .log import curves, keep_history, keep_weights, remove_run, summary_writer
from .noise import Noise
from .parallel import Processes
from .result import Distilled
from .samples import DECISIVE, Samples, predict, scores
from .teacher import teacher_targets
from .terms import KD, OutputMatching, Term, needs
from .trainer import EachEpoch, fit
from .trajectory import Trajectory
from .views import Views, describe, views_of

if TYPE_CHECKING:
    import xarray as xr
    from lightning.fabric import Fabric

__all__ = ["LEARNING_RATES", "distill"]

LEARNING_RATES = (1e-3, 3e-3, 1e-2)
"""What ``tune=True`` tries."""


def distill(
    student: nn.Module,
    teacher: nn.Module | None,
    train: Any,
    *,
    val: Any = None,
    method: str | Sequence[Term] = "ntkd",
    config: TrainConfig | None = None,
    views: Views | Literal["auto"] | None = "auto",
    unlabelled: Any = None,
    noise: Noise | None = None,
    tune: bool | Sequence[float] = False,
    fabric: Fabric | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    keep: bool = False,
    tensorboard: bool = False,
    seed: int = 0,
) -> Distilled:
    """Train a student with the knowledge of a teacher.

    Nothing is assumed of either but that they map the same inputs to the same number of outputs; the
    student's parameters that require a gradient are trained, in place. Methods:

    ==============  ==================================================================================
    ``ce``          cross-entropy to the labels; no teacher needed
    ``kd``          knowledge distillation: 0.1 cross-entropy + 0.9 softened outputs (arXiv 1503.02531)
    ``features``    cross-entropy + alignment of the features before the last layers
    ``ntkd-paper``  cross-entropy + matching of neural tangent kernels (arXiv 2508.08421, Eq. 9)
    ``ntkd``        distillation + alignment of the class-centred neural tangent kernels, the teacher
                    asked about moved views of pictures too (where there are classes); the default
    ==============  ==================================================================================

    Labels that are floating-point numbers, in the shape of the student's outputs, are regressed: the methods
    then compare by squared error over the variance of the targets in place of cross-entropy and softened
    outputs, and the score is the explained variance, ``val_r2``. Labels that are maps have the score
    ``val_miou`` beside ``val_accuracy``.

    Args:
        student: any module in which samples do not mix, but by batch normalisation; that is held at its
            running statistics where kernels are taken. It is trained in training mode, also where it comes
            from prediction; parts in evaluation mode of a student in training mode stay so.
        teacher: any module with the student's outputs, or a `Trajectory` of its training; None for ``ce``.
        train: `photonet.data.Images`, or a pair of inputs [n, ...] and labels [n] (tensor, array or xarray;
            [n, ...] for pixels and for numbers). Inputs of whole numbers stay int64, as an embedding takes
            them; bytes (uint8) are pixels and are divided by 255, here and in ``val`` and ``unlabelled``.
            Real ones are taken in the student's precision. A label that is not known is
            `photonet.data.UNLABELLED`, a number that is not known NaN.
        val: the same; by default a tenth of ``train`` is held out.
        method: one of the table, or the terms of a loss (`photonet.distill.terms`), each with its weight
            and schedule. One term of a kind: a step takes one tangent kernel, whose directions and parameters
            an `NTK` names, and a kind is a column of the history.
        config: see `TrainConfig`.
        views: function of inputs [b, ...] and a ``torch.Generator`` to other views of them, such as
            `Moved` and `Mixed`; the student is trained on views only, and the teacher is asked about the same
            ones. ``"auto"`` is gently moved pictures for ``method="ntkd"`` and none for the others; None is
            none.
        unlabelled: further inputs [m, ...] without labels, about which only the teacher is asked.
        noise: runs the student as another device at every training step, such as `DeviceNoise`; validation
            and kernels stay without it.
        tune: try several learning rates (True: `LEARNING_RATES`, or those given), each from the same first
            weights, and keep the best by validation accuracy (mean intersection over union where places have
            classes, explained variance of numbers). A rate that diverges is out. Comparisons are fair when
            every arm does so.
        fabric: a `lightning.Fabric` on which ``launch`` was called, for several processes or
            ``precision="bf16-mixed"``; every process calls `distill` with the same arguments. Student,
            teacher and data are moved to its device.
        out: folder for a checkpoint and ``history.csv`` after each epoch, and the teacher's sketched
            tangents; with ``tune`` one folder per learning rate.
        resume: go on from the checkpoint in ``out``; the result is that of an uninterrupted run. Without it
            what an earlier run left there is removed, and nothing else.
        keep: keep the weights of every epoch in ``out/epochs``, for a `Trajectory`.
        tensorboard: write the curves to ``out/tensorboard`` too.
        seed: of the order of samples, the held-out tenth and the random directions.

    Returns:
        `Distilled`.

    Raises:
        UnknownName: the method does not exist.
        InvalidArgument: no teacher for a method that needs one, or one without the layers that it asks; two
            terms of a kind; labels of another length or none that is known; a model that returns something
            else than one tensor; a student without trainable parameters; or an argument of another kind.
        GridMismatch: teacher and student have different outputs, or ``val`` and ``unlabelled`` other inputs.
        DataError: what ``out`` holds is damaged, or of another run or teacher.
        TrainingDiverged: the loss or a weight became NaN or infinite (at every rate of ``tune``); names the
            step, the term and the last good state.
        MissingDependency: ``tensorboard=True`` without the package.

    Example:
        >>> import torch
        >>> from photonet.models import compressed_meta, lenet
        >>> x, y = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
        >>> result = distill(compressed_meta(), lenet(), (x, y), config=TrainConfig(epochs=1, batch_size=18))
        >>> sorted(result.history)
        ['ce', 'kd', 'ntk', 'val_accuracy', 'val_loss']
    """
    config = TrainConfig() if config is None else config
    check_kinds(student, teacher, config, noise)
    processes = Processes(fabric)
    checks.count("seed", seed, least=0)
    folder, rates = folder_of(out), _rates(tune)
    inputs, labels = for_student(student, *labelled("train", train))
    if val is None:
        (val_inputs, val_labels), (inputs, labels) = hold_out(inputs, labels, seed)
    else:
        val_inputs, val_labels = validation(val, inputs, labels)
    terms, method_name = terms_of(method, labels)
    if fabric is not None:
        student.to(fabric.device)
        teacher = teacher.to(fabric.device) if teacher is not None else None
        inputs, labels, val_inputs, val_labels = (
            t.to(fabric.device) for t in (inputs, labels, val_inputs, val_labels)
        )
    outputs = outputs_of("student", student, inputs)
    check_classes("train labels", labels, outputs)
    check_classes("val labels", val_labels, outputs)
    if len(inputs) < 2:
        raise InvalidArgument("train", "two or more samples after the validation split", len(inputs))
    if "labels" in needs(terms):
        check_known("train labels", labels, "terms like KD need none: method=[KD()]")
    if rates:
        check_known("val labels", val_labels, "the learning rate is chosen by them")
    asks = bool(needs(terms) - {"labels"})
    if asks and teacher is None:
        raise InvalidArgument(
            "teacher", f"a torch module for the method {method_name!r}", None, "use method='ce' without one"
        )
    if asks and teacher is not None:
        same_outputs(outputs, outputs_of("teacher", teacher, inputs))
    views = views_of(views, method_name, inputs, labels)
    if unlabelled is not None:
        if not asks:
            raise InvalidArgument("unlabelled", "a method that asks the teacher", method_name)
        inputs, labels = with_unlabelled(inputs, labels, unlabelled)

    if (keep or tensorboard) and folder is None:
        raise InvalidArgument("out", "a folder, to keep weights or curves in", None)
    if tensorboard:
        summary_writer()  # what is missing is said before the teacher is sketched
    if isinstance(teacher, Trajectory):
        teacher.at(1.0)  # which kernels and validation are of
    # stored outputs do not hold on views, nor of a teacher that changes: it is asked at every step; and
    # features of maps are many times the pictures
    large = "features" in needs(terms) and len(outputs) == 4
    changes = views is not None or isinstance(teacher, Trajectory) or large
    with processes.one_after_the_other() if folder is not None else contextlib.nullcontext():
        if folder is not None and not resume and processes.first:
            remove_run(folder)
        stored = teacher_targets(teacher, inputs, terms, folder, kernel_only=changes)
    ask = copy.deepcopy(teacher).eval() if changes and asks and teacher is not None else None
    samples = Samples(inputs, labels, **stored, views=views, ask=ask)
    judged = [term for term in terms if isinstance(term, (KD, OutputMatching))]
    val_samples = Samples(val_inputs, val_labels, **teacher_targets(teacher, val_inputs, judged))
    settings = {
        **config.as_dict(),
        "method": method_name,
        "terms": json.dumps([term.as_dict() for term in terms]),
        "seed": seed,
        "data": tensor_hash(inputs, labels),
        "val": tensor_hash(val_inputs, val_labels),
        "teacher": _hash_of(teacher),
        "student": module_hash(student),
        "trained": config_hash({name: p.requires_grad for name, p in student.named_parameters()}),
        "views": describe(views),
        "noise": describe(noise),
        "precision": processes.precision,
    }

    def train_at(lr: float, folder: Path | None) -> tuple[xr.Dataset, dict[str, Any]]:
        described = {**settings, "lr": lr}
        run_hash = config_hash(described)
        checkpoint = folder / "checkpoint.safetensors" if folder is not None else None
        with contextlib.ExitStack() as stack:
            told: list[EachEpoch] = [] if folder is None else [keep_history(folder)]
            if keep and folder is not None:
                told.append(keep_weights(student, folder))
            if tensorboard and folder is not None and processes.first:
                told.append(stack.enter_context(curves(folder)))

            def each_epoch(rows: list[dict[str, float]]) -> None:
                for tell in told:
                    tell(rows)

            history = fit(
                student, samples, val_samples, terms, replace(config, lr=lr), seed=seed,
                checkpoint=checkpoint, run_hash=run_hash, noise=noise, fabric=fabric, each_epoch=each_epoch,
                description=f"distilling ({method_name}, lr {lr:g})",
            )  # fmt: skip
        history.attrs |= provenance(run=run_hash, **described)
        return history, described

    if rates:
        history, settings = _best_rate(student, rates, train_at, folder)
    else:
        history, settings = train_at(config.lr, folder)
    return Distilled(student, history, scores(predict(student, val_inputs), val_labels), settings)


def _hash_of(teacher: nn.Module | None) -> str:
    if isinstance(teacher, Trajectory):
        return f"{teacher.hash} until {teacher.until}"
    return module_hash(teacher) if teacher is not None else "none"


def _rates(tune: bool | Sequence[float]) -> list[float]:
    """The learning rates to try; none where nothing is tuned."""
    if isinstance(tune, bool):
        return list(LEARNING_RATES) if tune else []
    try:
        rates = [checks.positive("tune", rate, "positive learning rates") for rate in tune]
    except TypeError:
        raise InvalidArgument(
            "tune", "True, or learning rates", repr(tune)[:80], "one rate is set by TrainConfig(lr=)"
        ) from None
    if not rates:
        raise InvalidArgument("tune", "at least one learning rate", "none")
    return rates


def _best_rate(
    student: nn.Module,
    rates: Sequence[float],
    train_at: Callable[[float, Path | None], tuple[xr.Dataset, dict[str, Any]]],
    folder: Path | None,
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Train from the same first weights at every rate; the student is left with the best ones.

    Raises:
        TrainingDiverged: at every rate; one that diverges is worse than any that does not.
    """
    first, training = _state_of(student), [module for module in student.modules() if module.training]
    tried, failed = [], []
    for lr in rates:
        _restore(student, first)
        for module in training:
            module.training = True
        try:
            history, settings = train_at(lr, None if folder is None else folder / f"lr-{lr:g}")
        except TrainingDiverged as error:
            failed.append(f"lr {lr:g}: {error}")
            continue
        tried.append((_reached(history), history, settings, _state_of(student)))
    if not tried:
        raise TrainingDiverged(f"every learning rate of tune diverged: {'. '.join(failed)}")
    _, history, settings, best = max(tried, key=lambda one: one[0])
    _restore(student, best)
    student.eval()  # the last rate may have stopped in the middle
    return history, settings


State = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]


def _state_of(student: nn.Module) -> State:
    """Weights and buffers, also those that ``state_dict`` leaves out."""
    buffers = {name: buffer.detach().clone() for name, buffer in student.named_buffers()}
    return copy.deepcopy(student.state_dict()), buffers


def _restore(student: nn.Module, state: State) -> None:
    weights, buffers = state
    student.load_state_dict(weights)
    for name, buffer in student.named_buffers():
        if name in buffers:
            buffer.copy_(buffers[name])


def _reached(history: xr.Dataset) -> tuple[float, float]:
    """Score and loss at the end, the higher the better; what is no number is worse than any."""
    name = next(name for name in DECISIVE if name in history)
    end = float(history[name][-1]), -float(history["val_loss"][-1])
    score, loss = (-math.inf if math.isnan(value) else value for value in end)
    return score, loss
