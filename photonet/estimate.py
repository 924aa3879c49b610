"""What a design will reach, before it is trained: regression with its neural tangent kernel.

A network trained by small steps from its first weights ends near ridge regression with its tangent kernel
(Jacot et al., NeurIPS 2018, arXiv 1806.07572). That regression has a closed form, and so has its prediction
for every picture by the fit without it; a design is therefore judged on all pictures without a training run.
It does not see the features that training learns, so it is mostly too low, and its order is of more use
than its level.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import checks, ntk
from .arrays import UNLABELLED
from .distill.inputs import labelled, outputs_of
from .errors import InvalidArgument
from .progress import track
from .streams import stream

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Estimate", "estimate"]

Design = nn.Module | Callable[[], nn.Module]

CHUNK = 250
DRAWS = 4000


@dataclass(frozen=True)
class Estimate:
    """Predicted accuracy of one or more designs, and how sure their order is.

    Args:
        table: Dataset over ``design``, best first: ``accuracy`` with its interval ``low`` and ``high``,
            ``error`` (the mean squared error to the one-hot label that ranks the designs), ``rank`` (equal
            for designs that cannot be told apart), ``parameters`` (trainable) and ``initialisations``;
            ``better`` [design, other] is the probability that the first has the lower error.
    """

    table: xr.Dataset

    @property
    def ranking(self) -> list[list[str]]:
        """Groups of designs, best first; within a group the pictures do not tell which is better.

        A group is led by its best design and holds those that follow it without being worse with the
        confidence that was asked for. Two designs of neighbouring groups may still be close.
        """
        groups: dict[int, list[str]] = {}
        for name, rank in zip(self.table.design.values, self.table["rank"].values, strict=True):
            groups.setdefault(int(rank), []).append(str(name))
        return list(groups.values())

    def anchored(self, reached: Mapping[str, float]) -> Estimate:
        r"""The same designs at the level of training, which some of them have told.

        All estimates are raised by the mean difference :math:`\bar d` of the trained designs, and the
        interval becomes that of the next design's training,
        :math:`\bar d \pm t_{k-1}\, s \sqrt{1 + 1/k}`, with the standard deviation s of the k differences and
        Student's t, as if differences were normal. The order and the ranks stay.

        Args:
            reached: accuracy in [0, 1] of two or more trained designs, by name; from three on the intervals
                are of use. Choose them unlike each other: what they have in common is taken for all.

        Raises:
            UnknownName: a name that is not in the table.
            InvalidArgument: fewer than two, or no accuracy.

        Example:
            >>> from functools import partial
            >>> from photonet import data
            >>> from photonet.models import compressed_meta
            >>> designs = {f"bins of {b}": partial(compressed_meta, binning=b, hidden=16) for b in (4, 7, 14)}
            >>> found = estimate(designs, data.digits().train, samples=200, initialisations=1)
            >>> trained = found.anchored({"bins of 4": 0.95, "bins of 14": 0.66})
            >>> trained.table.attrs["anchors"], bool(trained.table.high.max() <= 1)
            (2, True)
        """
        from scipy.stats import t

        table = self.table
        if not isinstance(reached, Mapping):
            raise InvalidArgument("reached", "accuracies by the names of designs", type(reached).__name__)
        for name, accuracy in reached.items():
            checks.choice("reached", name, table.design.values.tolist())
            checks.fraction(f"reached[{name!r}]", accuracy)
        k = len(reached)
        if k < 2:
            raise InvalidArgument("reached", "the accuracies of two or more trained designs", k)
        gaps = [value - float(table.accuracy.sel(design=name)) for name, value in reached.items()]
        centre = table.accuracy + mean(gaps)
        quantile = float(t.ppf((1 + table.attrs["confidence"]) / 2, k - 1))
        half = quantile * stdev(gaps) * (1 + 1 / k) ** 0.5
        moved = {"accuracy": centre, "low": centre - half, "high": centre + half}
        found = table.assign({name: value.clip(0, 1) for name, value in moved.items()})
        return Estimate(found.assign_attrs(anchors=k))

    def to_xarray(self) -> xr.Dataset:
        """The whole result, labelled."""
        return self.table

    def __str__(self) -> str:
        t, level = self.table, self.table.attrs["confidence"]
        width = max(len("design"), *(len(name) for name in t.design.values))
        lines = [f"rank  {'design':{width}}  accuracy  {level:.0%} interval  parameters"]
        for name in t.design.values:
            row = t.sel(design=name)
            interval = f"{100 * float(row.low):.1f} to {100 * float(row.high):.1f}"
            lines.append(
                f"{int(row['rank']):>4}  {name:{width}}  {100 * float(row.accuracy):6.1f} %  {interval:>12}"
                f"  {int(row.parameters):>10,}"
            )
        close = [group for group in self.ranking if len(group) > 1]
        if close:
            lines.append("Designs of equal rank are too close to tell apart with these pictures.")
        return "\n".join(lines)


def estimate(
    designs: Design | Iterable[Design] | Mapping[str, Design],
    train: Any,
    *,
    samples: int = 2000,
    initialisations: int = 2,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Predict and rank the accuracy of designs before training them.

    Each design is the empirical neural tangent kernel of its trainable parameters at its first weights
    (along random signs of the outputs, at the rates Adam begins with; batch normalisation with the
    statistics of the pictures). Its estimate is the leave-one-out prediction of kernel ridge regression on
    ``samples`` pictures. The interval has the spread over pictures (bootstrap, the same draws for all
    designs, so that comparisons are paired) and over initialisations (pooled over the designs). It is an
    interval of the kernel regression, not of the training that follows: the explanation page has the gap
    between the two, and `Estimate.anchored` closes it with a few designs that were trained.

    Args:
        designs: a function that makes a fresh network (each initialisation calls it), or a network, which
            is taken with the weights it has; one, several, or a name for each.
        train: `photonet.data.Images`, or inputs [n, ...] and class labels [n].
        samples: pictures that are used, drawn from ``train``; cost grows with the cube, 2,000 take seconds.
        initialisations: draws of the first weights, per design that is a function.
        confidence: of the intervals, and of the statement that one design is better than another.
        seed: of the pictures, the initialisations and the bootstrap. Initialisation i is that of seed + i, so
            neighbouring seeds share some: repeat with seeds that are further apart.

    Returns:
        `Estimate`, which prints as a table.

    Raises:
        InvalidArgument: no design, two of one name, something that is not a network, fewer outputs than
            classes, labels that are not one class a picture, or frozen parameters alone.

    Example:
        >>> from functools import partial
        >>> from photonet import data
        >>> from photonet.models import compressed_meta
        >>> designs = {f"bins of {b}": partial(compressed_meta, binning=b, hidden=16) for b in (4, 14)}
        >>> found = estimate(designs, data.digits().train, samples=200, initialisations=1)
        >>> found.ranking
        [['bins of 4'], ['bins of 14']]
    """
    named = _named(designs)
    confidence = checks.fraction("confidence", confidence)
    checks.count("initialisations", initialisations)
    pictures, labels = _pictures(train, checks.count("samples", samples, 20), seed)
    squared, right = [], []  # per design [initialisations, n]
    sizes = []
    for name, design in track(named.items(), "designs"):
        networks = 1 if isinstance(design, nn.Module) else initialisations
        found = []
        for i in range(networks):
            network = _fresh(name, design, seed + i)
            found.append(_left_out(name, network, pictures, labels, seed + i))
        sizes.append(sum(p.numel() for p in network.parameters() if p.requires_grad))
        predicted = torch.stack(found)
        squared.append((predicted - F.one_hot(labels, predicted.shape[2])).square().sum(2))
        right.append((predicted.argmax(2) == labels).to(predicted))
    return _judged(list(named), squared, right, sizes, confidence, seed)


def _named(designs: Any) -> dict[str, Design]:
    if isinstance(designs, nn.Module) or (callable(designs) and not isinstance(designs, Mapping)):
        designs = {"design": designs}
    elif not isinstance(designs, Mapping):
        if not isinstance(designs, Iterable) or isinstance(designs, (str, bytes)):
            raise InvalidArgument("designs", "networks, or functions that make them", repr(designs)[:80])
        designs = {f"design {i + 1}": design for i, design in enumerate(designs)}
    if not designs:
        raise InvalidArgument("designs", "at least one design", "none")
    for name, design in designs.items():
        if not callable(design):  # a module is callable too
            raise InvalidArgument(
                f"designs[{name!r}]", "a network, or a function that makes one", type(design).__name__
            )
    named = {str(name): design for name, design in designs.items()}
    if len(named) < len(designs):
        raise InvalidArgument("designs", "names that differ as words", f"{list(designs)!r}"[:80])
    return named


def _pictures(train: Any, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    inputs, labels = labelled("train", train)
    if labels.ndim != 1 or labels.is_floating_point():
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise InvalidArgument("train labels", "one class per picture, [n]", got)
    if bool(((labels < 0) & (labels != UNLABELLED)).any()):
        raise InvalidArgument("train labels", f"classes from 0 on, or {UNLABELLED}", int(labels.min()))
    known = (labels != UNLABELLED).nonzero()[:, 0]
    if len(known) < 20:
        raise InvalidArgument("train", "at least 20 labelled pictures", len(known))
    order = torch.randperm(len(known), generator=stream(seed, "estimate pictures"))[:samples]
    chosen = known[order.to(known.device)]
    return inputs[chosen], labels[chosen]


def _fresh(name: str, design: Design, seed: int) -> nn.Module:
    """The network of one initialisation; the caller's random numbers are left as they were."""
    if isinstance(design, nn.Module):
        return copy.deepcopy(design)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = design()
    if not isinstance(network, nn.Module):
        raise InvalidArgument(
            f"designs[{name!r}]", "a function that returns a torch module", type(network).__name__
        )
    return network


def _settle(network: nn.Module, pictures: Tensor) -> None:
    """Batch normalisation with the statistics of the pictures, as a first epoch would leave it."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over batches
        layer.train()
    if layers:
        for part in pictures.tensor_split(-(-len(pictures) // CHUNK)):  # equal ones, as all count alike
            network(part)
    network.eval()


def _left_out(name: str, network: nn.Module, pictures: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Prediction [n, classes] for each picture by the regression without it, float64."""
    design = f"designs[{name!r}]"
    outputs = outputs_of(design, network, pictures)
    if len(outputs) != 2 or outputs[1] <= int(labels.max()):
        expected = f"outputs [n, {int(labels.max()) + 1} or more], one per class"
        raise InvalidArgument(design, expected, f"shape {tuple(outputs)}")
    with torch.no_grad():
        _settle(network, pictures)
        kernel = ntk.gram(
            network,
            pictures,
            outputs="random",
            directions=2,
            generator=stream(seed, "estimate directions"),
            chunk=CHUNK,
            rates=ntk.adam_rates(network, pictures[:CHUNK]),
        ).double()
    return ntk.regress(kernel, F.one_hot(labels, outputs[1])).left_out


def _judged(
    names: list[str],
    squared: list[Tensor],
    right: list[Tensor],
    sizes: list[int],
    confidence: float,
    seed: int,
) -> Estimate:
    """Bootstrap over pictures, plus the spread over initialisations, into intervals and ranks."""
    import xarray as xr

    order = sorted(range(len(names)), key=lambda d: float(squared[d].mean()))
    generator = stream(seed, "estimate bootstrap")
    n = squared[0].shape[1]
    # how often each picture is in a draw of n with replacement; the same for all designs
    picked = torch.randint(n, (DRAWS, n), generator=generator)
    counts = torch.zeros(DRAWS, n, dtype=torch.float64).scatter_add_(
        1, picked, torch.ones(DRAWS, n, dtype=torch.float64)
    )

    def drawn(values: list[Tensor]) -> Tensor:
        """[draws, design], best design first."""
        means = torch.stack([values[d].mean(0).cpu() for d in order], dim=1)
        spread = _between(values)
        noise = torch.randn(DRAWS, len(order), generator=generator, dtype=torch.float64)
        per_design = torch.tensor([(spread / len(values[d])) ** 0.5 for d in order], dtype=torch.float64)
        return counts @ means / n + noise * per_design

    tail = (1 - confidence) / 2
    errors, accuracies = drawn(squared), drawn(right)
    low, high = (torch.quantile(accuracies, q, dim=0).clamp(0, 1) for q in (tail, 1 - tail))
    better = (errors[:, :, None] < errors[:, None, :]).double().mean(0).fill_diagonal_(0.5)
    ranks, leader = [], 0
    for place in range(len(order)):
        if better[leader, place] >= 1 - tail:
            leader = place
        ranks.append(leader + 1)
    sorted_names = [names[d] for d in order]
    table = xr.Dataset(
        {
            "accuracy": ("design", [float(right[d].mean()) for d in order]),
            "low": ("design", low.numpy()),
            "high": ("design", high.numpy()),
            "error": ("design", [float(squared[d].mean()) for d in order]),
            "rank": ("design", ranks),
            "parameters": ("design", [sizes[d] for d in order]),
            "initialisations": ("design", [len(right[d]) for d in order]),
            "better": (("design", "other"), better.numpy()),
        },
        coords={"design": sorted_names, "other": sorted_names},
        attrs={"samples": n, "confidence": confidence, "seed": seed},
    )
    return Estimate(table)


def _between(values: list[Tensor]) -> float:
    """Variance of a design's mean between initialisations, pooled over designs; 0 if each has but one."""
    freedom = sum(len(v) - 1 for v in values)
    return sum(float(v.mean(1).var(correction=0)) * len(v) for v in values) / freedom if freedom else 0.0
