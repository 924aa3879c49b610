"""One step of training: what is drawn, what student and teacher say to it, and the gradient of the loss.

The loss is a function of quantities with one row per sample (outputs, features, factors of the tangent
kernel). Where a batch is computed in parts, by several processes or one part after the other, the rows are
collected without a graph, the loss of the whole batch is taken of them, and its gradient by the rows goes
back through each part. So the result is that of the whole batch, for Grams too (gradient caching,
arXiv 2101.06983).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import ntk
from ..errors import InvalidArgument
from ..precision import full_precision, single
from .noise import Noise
from .parallel import Processes
from .samples import Samples, predict
from .teacher import MOST_OUTPUTS, gram_of, penultimate
from .terms import NTK, Batch, Term, needs
from .views import seen_through

__all__ = ["Answers", "Query", "Step", "reseed"]

RESIDUAL_DIRECTIONS = 16
"""Random directions of a dense teacher's kernel at each step: all would be a backward pass per output."""


@dataclass(frozen=True, eq=False)
class Query:
    """What a step asks: everything random in it is drawn.

    Args:
        chosen: indices of the samples, [b].
        seen: the views that outputs and features are of, [b, ...].
        labels: of the views.
        directions: of the tangent kernels, [m, outputs].
        residual: directions of the teacher's kernel in whose norm a residual is measured, [m, outputs].
        seed: of the noise inside the student.
    """

    chosen: torch.Tensor
    seen: torch.Tensor
    labels: torch.Tensor | None
    directions: torch.Tensor | None
    residual: torch.Tensor | None
    seed: int | None


@dataclass(frozen=True, eq=False)
class Answers:
    """What the student says to some samples: tensors with one row per sample."""

    logits: torch.Tensor
    features: torch.Tensor | None = None
    tangents: ntk.Tangents | None = None

    def tensors(self) -> list[torch.Tensor]:
        """All of them, each once (a weight's and a bias's factor share one), in a fixed order."""
        found = [self.logits] + ([] if self.features is None else [self.features])
        if self.tangents is not None:
            for factor in self.tangents.factors.values():
                found += [factor] if isinstance(factor, torch.Tensor) else _parts(factor)
        return list({id(tensor): tensor for tensor in found}.values())

    def with_tensors(self, new: Sequence[torch.Tensor]) -> Answers:
        """The same with other tensors, in the order of `tensors`."""
        other = {id(old): tensor for old, tensor in zip(self.tensors(), new, strict=True)}

        def swap(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return other[id(value)]
            if is_dataclass(value) and not isinstance(value, type):
                return replace(value, **{f.name: swap(getattr(value, f.name)) for f in fields(value)})
            return value

        tangents = self.tangents
        if tangents is not None:
            factors = {name: swap(factor) for name, factor in tangents.factors.items()}
            tangents = replace(tangents, outputs=other[id(self.logits)], factors=factors)
        features = None if self.features is None else other[id(self.features)]
        return Answers(other[id(self.logits)], features, tangents)


def _parts(factor: Any) -> list[torch.Tensor]:
    values = [getattr(factor, f.name) for f in fields(factor)]
    return [value for value in values if isinstance(value, torch.Tensor)]


class Step:
    """The computation of one step, for the model, the samples and the terms of a run.

    Args:
        model: the student.
        train: samples with the targets of the terms.
        terms: of the loss.
        temperature: of distillation.
        noise: what runs the student as a device, see `photonet.distill.noise`.
        processes: who computes which part.
        parts: number of parts in which each process computes its rows, one after the other.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Samples,
        terms: Sequence[Term],
        temperature: float,
        noise: Noise | None,
        processes: Processes,
        parts: int,
    ) -> None:
        self.model, self.train, self.terms, self.temperature = model, train, terms, temperature
        self.noise, self.processes, self.parts = noise, processes, parts
        self.kernel = next((term for term in terms if isinstance(term, NTK)), None)
        self.whole = parts * processes.count == 1
        # inputs may be whole numbers: what the model says tells the precision, at least single for the loss
        self.like = single(predict(model, train.inputs[:1]))
        self.shape = self.like.shape[1:]
        self.outputs, self.classes = self.shape.numel(), self.shape[0] if self.shape else 1
        asked = "random" if self.kernel is None else self.kernel.outputs
        if asked in ("trace", "full") and self.outputs > MOST_OUTPUTS:
            expected = f"'random' or 'classes' for more than {MOST_OUTPUTS} outputs"
            raise InvalidArgument("NTK outputs", expected, asked)
        # the pass of the kernel serves as that of the outputs, unless they are of something else
        mixes = any(isinstance(module, _BatchNorm) for module in model.modules())
        self.shared = train.views is None and noise is None and not mixes

    def draw(self, chosen: torch.Tensor, wanted: set[str], generator: torch.Generator, seed: int) -> Query:
        """Everything random in one step, the same in every process and for any number of parts."""
        train = self.train
        labels = train.labels[chosen] if train.labels is not None else None
        seen, labels = seen_through(train.views, train.inputs[chosen], labels, generator)
        directions = self._directions(generator).to(self.like) if "gram" in wanted else None
        residual = self._residual(generator).to(self.like) if "kernel" in wanted else None
        noisy = self.noise is not None or not self.whole
        return Query(chosen, seen, labels, directions, residual, seed if noisy else None)

    def _directions(self, generator: torch.Generator) -> torch.Tensor:
        kernel = self.kernel
        centred = kernel is not None and kernel.centred and self.classes > 1
        if kernel is not None and kernel.outputs == "classes":
            return ntk.class_directions(self.shape, centred=centred)
        if kernel is not None and kernel.outputs != "random":
            return self._all(centred)
        return self._centred(generator, 1) if centred else ntk.random_directions(self.outputs, generator)

    def _residual(self, generator: torch.Generator) -> torch.Tensor:
        if self.outputs <= MOST_OUTPUTS:
            return self._all(centred=self.classes > 1)
        if self.classes > 1:
            return self._centred(generator, RESIDUAL_DIRECTIONS)
        return ntk.random_directions(self.outputs, generator, count=RESIDUAL_DIRECTIONS)

    def _all(self, centred: bool) -> torch.Tensor:
        return ntk.centred_directions(self.shape) if centred else torch.eye(self.outputs)

    def _centred(self, generator: torch.Generator, count: int) -> torch.Tensor:
        found = ntk.centred_directions(self.shape, generator=generator, count=count)
        while not found.any():  # all signs alike, which is every second draw for two classes
            found = ntk.centred_directions(self.shape, generator=generator, count=count)
        return found

    def student(self, query: Query, wanted: set[str], rows: slice) -> Answers:
        """What the student says to some rows of the batch."""
        if query.seed is not None:
            reseed(self.model, query.seed)
        if query.directions is None:
            return self._forward(query, wanted, rows)
        own_pass = not self.shared or "features" in wanted
        answers = self._forward(query, wanted, rows) if own_pass else None
        # after the other pass, which updates the running statistics that the graph of this one holds on to
        plain = query.seen[rows] if self.train.views is None else self.train.inputs[query.chosen[rows]]
        params = None if self.kernel is None else self.kernel.params
        with ntk.frozen_statistics(self.model) as frozen:
            tangents = ntk.tangents(frozen, plain, outputs=query.directions, params=params)
        return replace(answers or Answers(tangents.outputs.to(self.like)), tangents=tangents)

    def _forward(self, query: Query, wanted: set[str], rows: slice) -> Answers:
        forward: Any = self.model
        if self.noise is not None and query.seed is not None:
            device = torch.Generator().manual_seed(query.seed)
            forward = functools.partial(self.noise, self.model, generator=device)
        seen, features = query.seen[rows], None
        with self.processes.autocast():
            if "features" in wanted:
                logits, features = penultimate(self.model, seen, forward, name="student")
            else:
                logits = forward(seen)
        return Answers(logits.to(self.like), None if features is None else features.to(self.like))

    def batch(self, query: Query, wanted: set[str], answers: Answers) -> Batch:
        """What the terms compare: the student's words and those of the teacher."""
        train, kernel = self.train, self.kernel
        batch = Batch(answers.logits, query.labels, temperature=self.temperature)
        if train.ask is not None and wanted & {"teacher", "features"}:
            rows = self.processes.rows(len(query.chosen))
            heard: list[torch.Tensor | None]
            with torch.no_grad():
                if "features" in wanted:
                    said = penultimate(train.ask, query.seen[rows], name="teacher")
                    heard = [*map(self.processes.gather, said)]
                else:
                    heard = [self.processes.gather(train.ask(query.seen[rows])), None]
        else:
            heard = [None if some is None else some[query.chosen] for some in (train.teacher, train.features)]
        batch.teacher, asked = (None if some is None else some.to(self.like) for some in heard)
        if answers.features is not None and asked is not None:
            batch.features = answers.features, asked
        if answers.tangents is not None and train.gram is not None:
            full = kernel is not None and kernel.outputs == "full"
            batch.grams = gram_of(answers.tangents, full), train.gram(query.chosen, query.directions, full)
        if "kernel" in wanted and train.gram is not None:
            batch.kernel = train.gram(query.chosen, query.residual)
        return batch

    def gradients(self, query: Query, wanted: set[str], weights: Sequence[float]) -> torch.Tensor:
        """Add the gradient of the weighed loss to the parameters.

        Args:
            query: see `draw`.
            wanted: what the terms of positive weight need.
            weights: of each term at this step.

        Returns:
            Value of each term, float64; 0 where the weight is 0.
        """
        rows = self.processes.rows(len(query.chosen))
        if self.whole:
            answers = self.student(query, wanted, rows)
            loss, values = self._loss(query, wanted, answers, weights)
            loss.backward()
            return values
        size = -(-(rows.stop - rows.start) // self.parts)
        cuts = [slice(a, min(a + size, rows.stop)) for a in range(rows.start, rows.stop, size)]
        if len(cuts) == 1:
            live = self.student(query, wanted, cuts[0])
            own = [tensor.detach() for tensor in live.tensors()]
        else:
            with torch.no_grad():
                some = [self.student(query, wanted, cut) for cut in cuts]
            live, own = some[0], [torch.cat(t) for t in zip(*(s.tensors() for s in some), strict=True)]
        collected = [self.processes.gather(tensor).requires_grad_() for tensor in own]
        loss, values = self._loss(query, wanted, live.with_tensors(collected), weights)
        slopes = torch.autograd.grad(loss, collected, allow_unused=True)
        for cut in cuts:
            tensors = (live if len(cuts) == 1 else self.student(query, wanted, cut)).tensors()
            pairs = [
                (tensor, slope[cut])
                for tensor, slope in zip(tensors, slopes, strict=True)
                if slope is not None and tensor.requires_grad
            ]
            torch.autograd.backward([t for t, _ in pairs], [slope for _, slope in pairs])
        self.processes.add_gradients(self.model.parameters())
        return values

    def _loss(
        self, query: Query, wanted: set[str], answers: Answers, weights: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        batch = self.batch(query, wanted, answers)
        values = torch.zeros(len(self.terms), device=answers.logits.device, dtype=torch.float64)
        loss = torch.zeros((), device=answers.logits.device)
        for index, (term, weight) in enumerate(zip(self.terms, weights, strict=True)):
            if weight:
                with full_precision(batch.logits):
                    value = term(batch)
                values[index] = value.detach()
                loss = loss + weight * value
        return loss, values

    def wanted(self, weights: Sequence[float]) -> set[str]:
        """What the terms of positive weight need."""
        return needs(term for term, weight in zip(self.terms, weights, strict=True) if weight)


def reseed(model: nn.Module, seed: int) -> None:
    """Start the noise anew that layers draw: dropout from torch's own stream, cameras from theirs."""
    torch.manual_seed(seed)
    for module in model.modules():
        again = getattr(module, "reseed", None)
        if callable(again):
            again(seed)
