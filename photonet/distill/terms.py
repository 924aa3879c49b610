"""The terms of a training loss: what each compares, how much it counts, and when.

A method is a tuple of terms. A term names what it needs of a batch, so that a trainer computes nothing else.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch

from .. import checks
from ..errors import InvalidArgument
from . import losses

__all__ = [
    "KD",
    "NTK",
    "Batch",
    "CrossEntropy",
    "Features",
    "KernelResidual",
    "OutputMatching",
    "Schedule",
    "SquaredError",
    "Term",
    "during",
    "needs",
    "warm_up",
]

Schedule = tuple[tuple[float, float], ...]
"""Points (progress of the run in [0, 1], factor), joined by straight lines; empty: always 1."""


def warm_up(until: float) -> Schedule:
    """A schedule that rises from 0 to 1 over the first part ``until`` of a run.

    Example:
        >>> NTK(0.5, schedule=warm_up(0.2)).weight_at(0.1)
        0.25
    """
    return ((0.0, 0.0), (checks.fraction("until", until), 1.0))


def during(start: float, stop: float) -> Schedule:
    """A schedule that is 1 from ``start`` to ``stop`` and 0 elsewhere; then the term costs nothing.

    So tangent kernels can start a run that distillation finishes: ``(NTK(schedule=during(0, 0.2)),
    KD(schedule=during(0.2, 1)))``.

    Raises:
        InvalidArgument: not two fractions of a run in rising order.

    Example:
        >>> [KD(0.9, schedule=during(0.2, 0.5)).weight_at(t) for t in (0.1, 0.2, 0.4, 0.5)]
        [0.0, 0.9, 0.9, 0.0]
    """
    start, stop = checks.fraction("start", start), checks.fraction("stop", stop)
    if start >= stop:
        raise InvalidArgument("stop", f"more than start, {start}", stop)
    return ((start, 0.0), (start, 1.0), (stop, 1.0), (stop, 0.0))


@dataclass
class Batch:
    """What one step knows; only what some term needs is filled in.

    Args:
        logits: of the student, [n, classes, ...].
        labels: int64 [n, ...], or targets of regression like the logits.
        teacher: the teacher's logits for what the student saw.
        temperature: of distillation, where a term names none.
        grams: the student's Gram and the teacher's, [n, n] each ([n C, n C] of whole class blocks).
        kernel: the teacher's class-centred Gram, summed over the outputs (or estimated from random directions
            where there are many), [n, n].
        features: the student's penultimate features and the teacher's, [n, ...] each.
    """

    logits: torch.Tensor
    labels: torch.Tensor | None = None
    teacher: torch.Tensor | None = None
    temperature: float = 4.0
    grams: tuple[torch.Tensor, torch.Tensor] | None = None
    kernel: torch.Tensor | None = None
    features: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class Term(abc.ABC):
    """One part of a loss.

    Args:
        weight: against the other terms.
        schedule: factor of the weight over the run, see `Schedule`.

    Raises:
        InvalidArgument: a negative weight, or a schedule that does not run forward through [0, 1].
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    """What must be known of a batch: ``labels``, ``teacher``, ``gram``, ``kernel``, ``features``."""

    weight: float = 1.0
    schedule: Schedule = ()

    def __post_init__(self) -> None:
        checks.non_negative("weight", self.weight)
        try:
            times = [time for time, _ in self.schedule]
        except (TypeError, ValueError):
            raise InvalidArgument("schedule", "points (progress, factor)", self.schedule) from None
        if times != sorted(times) or any(not 0 <= time <= 1 for time in times):
            raise InvalidArgument("schedule", "points of rising progress in [0, 1]", self.schedule)
        for _, factor in self.schedule:
            checks.non_negative("schedule", factor)

    def weight_at(self, progress: float) -> float:
        """The weight at a progress in [0, 1] of the run; constant outside the points."""
        if not self.schedule:
            return self.weight
        last_time, last = self.schedule[0]
        for time, factor in self.schedule:
            if progress < time:
                part = max(0.0, (progress - last_time) / (time - last_time)) if time > last_time else 1.0
                return self.weight * (last + part * (factor - last))
            last_time, last = time, factor
        return self.weight * last

    @abc.abstractmethod
    def __call__(self, batch: Batch) -> torch.Tensor:
        """The term's value, without its weight."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for hashes."""
        return {"name": self.name, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class CrossEntropy(Term):
    """Cross-entropy to the labels.

    Args:
        smoothing: part of the probability that is spread over all classes, in [0, 1).
    """

    name: ClassVar[str] = "ce"
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if checks.fraction("smoothing", self.smoothing) == 1:
            raise InvalidArgument(
                "smoothing", "less than 1, which leaves nothing of the label", self.smoothing
            )

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.cross_entropy`."""
        return losses.cross_entropy(batch.logits, _given(batch.labels, "labels"), self.smoothing)


@dataclass(frozen=True)
class KD(Term):
    """Distillation of the teacher's softened outputs.

    Args:
        temperature: None for that of the run's `TrainConfig`.
    """

    name: ClassVar[str] = "kd"
    needs: ClassVar[frozenset[str]] = frozenset({"teacher"})
    temperature: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature is not None:
            checks.positive("temperature", self.temperature)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.kd`."""
        temperature = batch.temperature if self.temperature is None else self.temperature
        return losses.kd(batch.logits, _given(batch.teacher, "teacher"), temperature)


@dataclass(frozen=True)
class _OfNumbers(Term):
    """A squared error over the variance of the targets."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("scale", self.scale)


@dataclass(frozen=True)
class SquaredError(_OfNumbers):
    """Squared error to the numbers that are given, in place of cross-entropy where there are no classes.

    Args:
        scale: variance of the targets, see `losses.squared_error`.
    """

    name: ClassVar[str] = "mse"
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.squared_error`."""
        return losses.squared_error(batch.logits, _given(batch.labels, "labels"), self.scale)


@dataclass(frozen=True)
class OutputMatching(_OfNumbers):
    """Squared error to the teacher's outputs: distillation where there are no classes.

    Args:
        scale: variance of the targets, see `losses.squared_error`.
    """

    name: ClassVar[str] = "outputs"
    needs: ClassVar[frozenset[str]] = frozenset({"teacher"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.output_matching`."""
        return losses.output_matching(batch.logits, _given(batch.teacher, "teacher"), self.scale)


@dataclass(frozen=True)
class NTK(Term):
    """Matching of the tangent kernels of student and teacher.

    Args:
        form: of the comparison, see `losses.ntk_matching`.
        centred: leave out of the directions what all classes share (at each pixel of dense outputs), which
            softmax does not see.
        outputs: ``"random"`` looks along one random direction per step, an unbiased estimate of the trace;
            ``"classes"`` looks at the whole map of each class of dense outputs, see
            `photonet.ntk.class_directions`; ``"trace"`` sums over all outputs; ``"full"`` compares all pairs
            of classes of all pairs of samples. The last three cost about as many backward passes as there
            are classes.
        params: prefix of the student's parameters the kernel is over (``"frontend"``); None for all
            that are trained.
    """

    name: ClassVar[str] = "ntk"
    needs: ClassVar[frozenset[str]] = frozenset({"gram"})
    form: str = "scaled"
    centred: bool = False
    outputs: str = "random"
    params: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("form", self.form, losses.NTK_FORMS)
        checks.choice("outputs", self.outputs, ("random", "classes", "trace", "full"))
        checks.instance("centred", self.centred, bool, "True or False")
        if self.params is not None:
            checks.instance("params", self.params, str, "a prefix of parameter names, or None")

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.ntk_matching`."""
        return losses.ntk_matching(*_given(batch.grams, "gram"), self.form)


@dataclass(frozen=True)
class Features(Term):
    """Alignment of the features before the last dense layer, or the last convolution of maps.

    See `losses.feature_matching`.
    """

    name: ClassVar[str] = "features"
    needs: ClassVar[frozenset[str]] = frozenset({"features"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.feature_matching`."""
        return losses.feature_matching(*_given(batch.features, "features"))


@dataclass(frozen=True)
class KernelResidual(Term):
    """The difference of the logits in the norm of the teacher's kernel, see `losses.kernel_residual`.

    The kernel is that of the inputs themselves, also where the logits are of other views of them. Of dense
    outputs it is estimated from a few random directions, other ones at each step.

    Args:
        strength: of the ridge, over the mean diagonal of the kernel.
    """

    name: ClassVar[str] = "residual"
    needs: ClassVar[frozenset[str]] = frozenset({"teacher", "kernel"})
    strength: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("strength", self.strength)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """See `losses.kernel_residual`."""
        teacher, kernel = _given(batch.teacher, "teacher"), _given(batch.kernel, "kernel")
        return losses.kernel_residual(batch.logits, teacher, kernel, self.strength)


def needs(terms: Iterable[Term]) -> set[str]:
    """What must be known of the samples for these terms.

    Example:
        >>> sorted(needs((CrossEntropy(), NTK())))
        ['gram', 'labels']
    """
    return {need for term in terms if term.weight for need in term.needs}


T = TypeVar("T")


def _given(value: T | None, name: str) -> T:
    if value is None:
        raise InvalidArgument("batch", f"{name}, which a term compares with", None)
    return value
