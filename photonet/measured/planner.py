"""`plan_pilot`: from a first small set of measured frames to the number that is worth measuring."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import checks
from ..arrays import as_labels, as_pictures, batches
from ..errors import InvalidArgument
from ..nn import HybridNetwork
from ..progress import track
from ..provenance import provenance, tensor_hash
from ..streams import stream
from .features import Measured
from .learning import Curves, fit_curves

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Needed", "PilotPlan", "plan_pilot"]

REACH = 3
"""The curve ends at this multiple of the pilot: farther, the law itself would be the only evidence."""

LEAST_PILOT = 20
LEAST_SIZE = 8
"""Frames that a correction is tried with at least (it holds out some of them itself)."""

LEAST_JUDGES = 2
"""Labelled samples that are held out of the largest of the trial corrections."""

LEAST_REPEATS = 10
"""Fewer splits leave the largest corrections to a handful of pictures, whose luck passes for knowledge."""

LARGEST_SHARE = 0.8
"""Of the pilot, in the largest of the trial corrections; the others judge it."""

GRID = 100


@dataclass(frozen=True)
class Needed:
    """How many measured samples a wanted accuracy takes.

    Args:
        accuracy: what is wanted.
        likely: the median, or None if that is more than ``limit``.
        low, high: ends of the interval, or None if more than ``limit``.
        chance: probability that ``limit`` samples are enough.
        limit: the largest number the pilot says something about.
        fewest: the smallest number that was tried; fewer may do where ``low`` is equal to it.
        level: probability of the interval.
    """

    accuracy: float
    likely: int | None
    low: int | None
    high: int | None
    chance: float
    limit: int
    fewest: int
    level: float

    def __str__(self) -> str:
        if self.low is None:
            return (
                f"{100 * self.accuracy:.1f} %: not reachable with the evidence: the chance that "
                f"{self.limit} frames are enough is {100 * self.chance:.0f} %"
            )
        beyond = f"more than {self.limit}"
        low = f"{'at most ' if self.low <= self.fewest else ''}{self.low}"
        text = (
            f"{100 * self.accuracy:.1f} %: {beyond if self.likely is None else self.likely} frames "
            f"({100 * self.level:.0f} % interval {low} to {self.high or beyond})"
        )
        if self.high is None:
            text += (
                f"; {self.limit} are enough with a chance of {100 * self.chance:.0f} %: measure, plan again"
            )
        return text


@dataclass(frozen=True)
class PilotPlan:
    """What a pilot says about measuring more.

    Args:
        curve: over ``n``, the number of measured samples: ``accuracy`` (median), ``low`` and ``high`` of the
            accuracy that one correction with n samples will have on new scenes, and whether n is
            ``extrapolated`` beyond the pilot. Over ``size``, what was tried: ``tried``, ``tried_low``,
            ``tried_high``. Attributes: ``level``, ``metric``, and where the numbers came from.
        uncorrected: score of the pilot without correction.
        simulated: score of the simulated network on the pilot's scenes.
        draws: of the learning curve.
    """

    curve: xr.Dataset
    uncorrected: float
    simulated: float
    draws: Curves

    @property
    def pilot(self) -> int:
        """Samples of the pilot."""
        return int(self.curve.attrs["pilot"])

    @property
    def limit(self) -> int:
        """The largest number of samples that the plan speaks of, three times the pilot."""
        return REACH * self.pilot

    def at(self, samples: int) -> tuple[float, float, float]:
        """Median, low and high of the corrected accuracy with this number of samples.

        Raises:
            InvalidArgument: fewer than were tried, or more than three times the pilot.
        """
        n = checks.count("samples", samples)
        if not self.draws.size <= n <= self.limit:
            raise InvalidArgument(
                "samples",
                f"{self.draws.size} to {self.limit}, three times the pilot",
                n,
                "a larger pilot says more" if n > self.limit else "",
            )
        median, low, high = _quantiles(self.draws, torch.tensor([n]), self.curve.attrs["level"])
        return float(median[0]), float(low[0]), float(high[0])

    def needed(self, accuracy: float) -> Needed:
        """The number of samples to measure for a wanted mean accuracy.

        Args:
            accuracy: in (0, 1).

        Raises:
            InvalidArgument: not between 0 and 1.
        """
        wanted = checks.fraction("accuracy", accuracy)
        level = float(self.curve.attrs["level"])
        n = self.draws.needed(wanted).sort().values

        def quantile(q: float) -> int | None:
            number = max(float(n[round(q * (len(n) - 1))]), self.draws.size)
            return math.ceil(number) if number <= self.limit else None

        low, likely, high = (quantile(q) for q in ((1 - level) / 2, 0.5, (1 + level) / 2))
        chance = float((n <= self.limit).double().mean())
        return Needed(wanted, likely, low, high, chance, self.limit, self.draws.size, level)

    def __str__(self) -> str:
        level = 100 * self.curve.attrs["level"]
        rows = [
            f"pilot of {self.pilot}: uncorrected {100 * self.uncorrected:.1f} %, simulated "
            f"{100 * self.simulated:.1f} % ({self.curve.attrs['metric']})",
            f"{'samples':>8}  corrected accuracy ({level:.0f} % band)",
        ]
        for n in (*self.curve["size"].values.tolist(), self.pilot, 2 * self.pilot, self.limit):
            median, low, high = (100 * value for value in self.at(n))
            note = "  extrapolated" if n > self.pilot else ""
            rows.append(f"{n:>8}  {median:5.1f} % ({low:.1f} to {high:.1f}){note}")
        rows.append(f"Beyond {self.limit} this pilot says nothing: measure some, and plan again.")
        return "\n".join(rows)


def plan_pilot(
    student: HybridNetwork,
    pilot: Measured,
    correct: Callable[..., Any],
    *,
    clean: tuple[torch.Tensor, torch.Tensor] | None = None,
    sizes: Sequence[int] | None = None,
    repeats: int = 10,
    level: float = 0.9,
    seed: int = 0,
    **options: Any,
) -> PilotPlan:
    """Predict from a small measured set how accurate correction with more samples will be.

    Parts of the pilot of several sizes are corrected with, and judged by the rest; this is repeated with
    other parts. A saturating curve through the scores, with wide priors, is carried on to three times the
    pilot's size, not farther. The band is for the accuracy of one later correction on new scenes of the same
    kind: it holds what the few pictures leave open, which is most of it (100 pictures tell 95 % from 91 % or
    98 %, no better; ``clean`` scenes help), what the splits scatter, and what the shape of the curve leaves
    open.

    Args:
        student: the simulated network.
        pilot: frames of the device. Without labels the score is agreement with the simulated network; where
            some are not labelled (-100), these are corrected with, but judge nothing.
        correct: `photonet.correct`, or a function that is called like it:
            ``correct(student, measured, fraction=1.0, seed=..., **options)``, with the corrected network as
            ``student`` of its answer. (It is passed because `photonet.measured` stands below it.)
        clean: scenes that were not measured, and their labels: some thousands, such as a test set. The
            simulated network's score on them tells by how much the pilot's pictures happen to be harder or
            easier than others, which makes the band narrower. They must be of the pilot's kind, and
            the student must have learned from neither.
        sizes: numbers of samples to try, at least 8 each and at most 80 % of the pilot; by default five in
            equal ratios.
        repeats: corrections for each size, 10 or more; all of them take ``len(sizes) * repeats`` times as
            long as one.
        level: probability of the band.
        seed: of splits, corrections and draws: the same seed gives the same plan.
        options: for ``correct``, such as ``method="calibration"`` or ``teacher=``.

    Returns:
        `PilotPlan`: print it, ask ``needed(0.95)``, draw it with `photonet.plot.learning_curve`.

    Raises:
        InvalidArgument: fewer than 20 samples, too few labels, sizes that do not fit, or another argument
            out of range.

    Example:
        >>> from photonet import correct
        >>> from photonet.models import compressed_meta
        >>> _ = torch.manual_seed(0)
        >>> student, scenes = compressed_meta(), torch.rand(40, 1, 28, 28)
        >>> with torch.no_grad():
        ...     pilot = Measured(scenes, 0.5 * student.features(scenes))  # a dim device
        >>> plan = plan_pilot(student, pilot, correct, sizes=[8, 16, 32], method="none")
        >>> plan.pilot, plan.limit, plan.curve.attrs["metric"]
        (40, 120, 'agreement with the simulated network')
    """
    count = len(pilot)
    if count < LEAST_PILOT:
        raise InvalidArgument("pilot", f"at least {LEAST_PILOT} measured samples", count)
    tried = _sizes(count, sizes)
    repeats = checks.count("repeats", repeats, least=LEAST_REPEATS)
    if not 0 < checks.fraction("level", level) < 1:
        raise InvalidArgument("level", "a probability above 0 and below 1", level)

    if "fraction" in options:
        raise InvalidArgument("fraction", "nothing: every trial uses all of its part", options["fraction"])
    network = copy.deepcopy(student).eval()
    pilot = pilot.to(network)
    if clean is not None:
        clean = _clean_pair(clean, pilot)
    simulated = _answers(network, pilot.scenes)
    wanted = simulated if pilot.labels is None else pilot.labels
    generator = stream(seed, "pilot")
    orders = [torch.randperm(count, generator=generator) for _ in range(repeats)]
    known = (wanted >= 0).reshape(count, -1).any(1).cpu()
    if min(int(known[order[tried[-1] :]].sum()) for order in orders) < LEAST_JUDGES:
        raise InvalidArgument(
            "pilot",
            f"labels of some of the samples that judge, {LEAST_JUDGES} in every part",
            f"{int(known.sum())} labelled samples of {count}",
            "without any labels, pass None",
        )
    seeds = torch.randint(2**31, (repeats,), generator=generator).tolist()
    scores = torch.full((len(tried), repeats, count), torch.nan, dtype=torch.float64)
    jobs = [(s, r) for s in range(len(tried)) for r in range(repeats)]
    for s, r in track(jobs, "planning"):
        order = orders[r].to(pilot.scenes.device)
        train, rest = order[: tried[s]], order[tried[s] :]
        result = correct(student, pilot[train], fraction=1.0, seed=seeds[r], **options)
        right = _score(_answers(result.student.backend, pilot.features[rest]), wanted[rest])
        scores[s, r, orders[r][tried[s] :]] = right.cpu()
    control = None
    if clean is not None:
        others = _score(_answers(network, clean[0]), clean[1])
        control = _score(simulated, wanted).cpu(), others[others.isfinite()].cpu()
    curves, means = fit_curves(torch.tensor(tried), scores, stream(seed, "learning curve"), control)

    before = _score(_answers(network.backend, pilot.features), wanted)
    attrs = provenance(
        level=level,
        metric="accuracy" if pilot.labels is not None else "agreement with the simulated network",
        pilot=count,
        seed=seed,
        repeats=repeats,
        data=tensor_hash(pilot.scenes, pilot.features, pilot.labels),
        **{name: value for name, value in options.items() if isinstance(value, (str, int, float))},
    )
    curve = _dataset(curves, tried, means, count, attrs)
    return PilotPlan(curve, float(before.nanmean()), float(_score(simulated, wanted).nanmean()), curves)


def _clean_pair(clean: Any, pilot: Measured) -> tuple[torch.Tensor, torch.Tensor]:
    """Scenes that were not measured, and their labels."""
    if pilot.labels is None or not isinstance(clean, (tuple, list)) or len(clean) != 2:
        got = "a pilot without labels" if pilot.labels is None else "no pair"
        raise InvalidArgument("clean", "scenes and labels, beside a pilot with labels", got)
    scenes = as_pictures("clean scenes", clean[0]).to(pilot.scenes)
    labels = as_labels("clean labels", clean[1]).to(scenes.device)
    if len(scenes) != len(labels) or not bool((labels >= 0).any()):
        got = f"{len(scenes)} scenes and {len(labels)} labels, {int((labels >= 0).sum())} of them known"
        raise InvalidArgument("clean", "a label for each scene", got)
    return scenes, labels


def _sizes(count: int, sizes: Sequence[int] | None) -> list[int]:
    largest = int(LARGEST_SHARE * count)
    if sizes is None:
        smallest = max(LEAST_SIZE, count // 10)
        ratio = (largest / smallest) ** 0.25
        return sorted({round(smallest * ratio**i) for i in range(5)})
    tried = sorted({checks.count("sizes", size) for size in sizes})
    if len(tried) < 3 or tried[0] < LEAST_SIZE or tried[-1] > largest:
        raise InvalidArgument(
            "sizes", f"three or more different numbers from {LEAST_SIZE} to {largest}", list(sizes)
        )
    return tried


def _answers(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(batch).argmax(1) for batch in batches(inputs)])


def _score(answers: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Share of right answers of each sample, float64 [n]: pixels of a scene are not independent.

    Negative labels are of pixels that belong to no class. What has no other is not judged, NaN.
    """
    known = (wanted >= 0).double().flatten(1) if wanted.ndim > 1 else (wanted >= 0).double()[:, None]
    right = (answers == wanted).double().reshape(known.shape)
    return (right * known).sum(1) / known.sum(1)


def _quantiles(curves: Curves, n: torch.Tensor, level: float) -> tuple[torch.Tensor, ...]:
    q = torch.tensor([0.5, (1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    return tuple(curves.single(n).quantile(q, dim=0))


def _dataset(
    curves: Curves, tried: list[int], means: torch.Tensor, count: int, attrs: dict[str, Any]
) -> xr.Dataset:
    import xarray as xr

    n = torch.logspace(math.log10(tried[0]), math.log10(REACH * count), GRID, dtype=torch.float64)
    n = torch.unique(n.round().long())
    level = attrs["level"]
    median, low, high = (one.numpy() for one in _quantiles(curves, n, level))
    q = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    tried_low, tried_high = means.quantile(q, dim=0).numpy()
    return xr.Dataset(
        {
            "accuracy": ("n", median),
            "low": ("n", low),
            "high": ("n", high),
            "extrapolated": ("n", (n > count).numpy()),
            "tried": ("size", means.mean(0).numpy()),
            "tried_low": ("size", tried_low),
            "tried_high": ("size", tried_high),
        },
        coords={"n": n.numpy(), "size": tried},
        attrs=attrs,
    )
