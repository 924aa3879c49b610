"""`DriftMonitor`: a few probe scenes, shown again and again, tell when the bench has changed, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

import torch

from .. import checks
from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from .changes import CHANGES, Response
from .features import Measured
from .look import Look
from .monitor_file import read_monitor, write_monitor
from .rounds import stack_rounds

__all__ = ["DriftMonitor"]

LEAST_ROUNDS = 8
"""Of the reference: the spread between rounds is estimated from them, with one degree of freedom less."""

MOST_NOISE = 0.2
"""Share of noise in the mean square of the reference's mean frames, above which the model means nothing."""

TINY = 1e-300


@dataclass(frozen=True)
class DriftMonitor:
    r"""Tells from repeated frames of the same probe scenes whether the bench is still the one it was.

    The reference is r rounds, in each of which all probe scenes are shown once, with the mean frames z. A
    look is m rounds of the same scenes. The change of its mean frames is fitted, by least squares weighted
    with the channels' noise, with

    .. math:: \delta = g z + o - s_y \partial_y z - s_x \partial_x z + d \nabla^2 z

    with slopes of the cubic spline through z. The standard errors are those of noise; beside them, shifts are
    wrong by 1 % for spots of sigma 1.2 pixels and by 5 % for those of 0.8, which pixels sample too coarsely.

    A lens out of focus blurs; what a diffractive mask gives out of focus is another picture. Such a change
    gets its name from a response: frames of the probe scenes that were taken, or simulated, with the change.

    Each of the estimates is divided by its standard error, which comes from the spread of the same
    estimate between the rounds of the reference: whatever common noise the bench has, such as a laser that
    flickers, is in it. Two more tests look at the noise within the look, and at what the model leaves over.
    Each is compared with Student's t of r - 1 degrees of freedom at ``false_alarm`` / (tests x ``looks``),
    the Bonferroni bound for these seven tests (and one more for every further response) and that many looks.

    So ``false_alarm`` is the probability that at least one of ``looks`` looks at an unchanged bench is due,
    over references and looks together; one reference by itself can be a little luckier or unluckier. It
    holds if rounds are independent and equally noisy. A laser that wanders over hours is a change, unless
    the reference spans those hours.

    No labels are used, and the scenes themselves may be unknown. Make one with `fit`.

    Args:
        mean: mean reference frames, float64 [n, k, y, x].
        weight: of each channel in the fit, the inverse of its noise variance, [k].
        bias: of the estimates at rest, found by leaving rounds out, [c]: noise of the mean frames is in
            the templates too.
        spread: standard deviation of the estimates between single rounds, [c].
        noise: mean residual energy per value of a round, in units of its variance.
        noise_spread: standard deviation of its logarithm between rounds.
        rounds: of the reference, r.
        false_alarm: probability as stated above.
        looks: how many looks it is for.
        scenes: hash of the probe scenes, or "" if frames came without them.
        responses: change of the mean frames per unit of further parameters.
        harmless: the largest change that nobody minds, by test.
    """

    mean: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    spread: torch.Tensor
    noise: float
    noise_spread: float
    rounds: int
    false_alarm: float
    looks: int
    scenes: str = ""
    responses: Mapping[str, torch.Tensor] = field(default_factory=dict)
    harmless: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        reference: Sequence[Measured] | torch.Tensor,
        *,
        false_alarm: float = 0.01,
        looks: int = 1,
        responses: Mapping[str, torch.Tensor] | None = None,
        harmless: Mapping[str, float] | None = None,
    ) -> DriftMonitor:
        """Learn the frames of the probe scenes and their noise from a quiet bench.

        Args:
            reference: at least 8 rounds of the same scenes in the same order: `Measured` objects, or frames
                or feature maps [rounds, scenes, (channels,) y, x].
            false_alarm: probability of at least one alarm in ``looks`` looks at an unchanged bench.
            looks: how many looks that probability is for.
            responses: name -> change of the mean frames for one unit of a change, [scenes, (channels,) y, x],
                such as ``{"rotation": turned - straight}``; ``defocus`` replaces the blur. From a simulation,
                or from frames of their own (not those of ``reference``, whose noise would count twice).
            harmless: name of a test -> the largest change that nobody minds, in the units of
                `Look.estimates`; for ``other``, the root mean square of the change over that of the frames,
                both weighted. A good camera sees far smaller changes than a network does; only what is
                significantly larger than this makes a look due. By default every real change does.

        Returns:
            The monitor.

        Raises:
            InvalidArgument: too few rounds, values that are not finite, frames without noise (copies of one
                exposure) or without contrast.
            GridMismatch: rounds of other scenes or of another size.

        Example:
            >>> g = torch.Generator().manual_seed(0)
            >>> scenes = torch.rand(4, 1, 12, 12, generator=g)
            >>> bench = lambda rounds: scenes + 0.01 * torch.randn(rounds, *scenes.shape, generator=g)
            >>> monitor = DriftMonitor.fit(bench(16))
            >>> monitor.look(bench(8)).due
            False
            >>> monitor.look(1.05 * bench(8)).kind
            'gain'
        """
        frames, scenes = stack_rounds("reference", reference, LEAST_ROUNDS)
        level = _probability("false_alarm", false_alarm)
        if min(frames.shape[-2:]) < 3:
            raise InvalidArgument("reference", "frames of at least 3 x 3", f"{tuple(frames.shape[-2:])}")
        r, mean = len(frames), frames.mean(0)
        variance = frames.var(0).mean(dim=(0, 2, 3))  # of each channel
        if not bool((variance > 0).any()):
            raise InvalidArgument(
                "reference", "repeated exposures", "rounds that are all equal", "expose every round anew"
            )
        if float((variance / r / mean.square().mean(dim=(0, 2, 3)).clamp_min(TINY)).min()) > MOST_NOISE:
            raise InvalidArgument(
                "reference", "a picture in the mean frames", "mostly noise", "take more rounds or more light"
            )
        # a channel that happens to be dark must not outweigh all the others
        weight = 1 / variance.clamp_min(1e-3 * float(variance[variance > 0].median()))
        known = {
            name: _checked_response(name, value, mean) for name, value in sorted((responses or {}).items())
        }
        estimates, energies = [], []
        for frame in frames:  # each as if it were the look, against the mean of the others
            rest = (r * mean - frame) / (r - 1)
            estimate, left = Response(rest, weight, known).fit(frame - rest)
            estimates.append(estimate)
            energies.append(left)
        # The noise of the mean is in the templates and, with the other sign, in the change: the estimates
        # have a bias, and what it explains is noise.
        shrink = (r - 1) / r
        estimate = torch.stack(estimates) * shrink
        bias = estimate.mean(0)
        energy = torch.tensor(energies, dtype=torch.float64) * shrink
        energy = energy + Response(mean, weight, known).explained(bias)
        return cls(
            mean=mean,
            weight=weight,
            bias=bias,
            spread=estimate.std(0),
            noise=float(energy.mean()),
            noise_spread=float(energy.log().std()),
            rounds=r,
            false_alarm=level,
            looks=checks.count("looks", looks),
            scenes=scenes,
            responses=known,
            harmless=_harmless(harmless or {}, [*{**CHANGES, **known}, "noise", "other"]),
        )

    def look(self, frames: Sequence[Measured] | torch.Tensor) -> Look:
        """Compare new rounds of the same scenes with the reference.

        Args:
            frames: two or more rounds (noise is told from change by repeating), as in `fit`.

        Returns:
            `Look`.

        Raises:
            InvalidArgument: fewer than two rounds, or values that are not finite.
            GridMismatch: another number of scenes, other scenes, or frames of another size.
        """
        from scipy.stats import t as student_t

        new, scenes = stack_rounds("frames", frames, 2)
        if new.shape[1:] != self.mean.shape:
            raise GridMismatch(
                "frames", f"rounds of shape {tuple(self.mean.shape)}", f"{tuple(new.shape[1:])}"
            )
        if scenes and self.scenes and scenes != self.scenes:
            raise GridMismatch("frames", "the probe scenes of the reference in their order", "other scenes")
        new = new.to(self.mean)
        m, r, model = len(new), self.rounds, self._response
        share, centre = 1 / m + 1 / r, new.mean(0)
        change, left = model.fit(centre - self.mean)
        change, left = change - self.bias, left + model.explained(self.bias)
        within = sum(model.fit(one - centre)[1] for one in new) / (m - 1)

        allowed = torch.tensor([self.harmless.get(name, 0.0) for name in self._names]).to(change)
        beyond = change.sign() * (change.abs() - allowed).clamp_min(0)
        noise = math.log(max(within, TINY) / self.noise)
        quieter = max(0.0, abs(noise) - 2 * math.log1p(self.harmless.get("noise", 0.0)))
        mended = self.harmless.get("other", 0.0) ** 2 * model.power
        rest = math.log(max(left, TINY) / (share * self.noise + mended))
        error = self.spread * share**0.5
        noise_error = self.noise_spread * (1 / (m - 1) + 1 / r) ** 0.5
        rest_error = self.noise_spread * (1 + 1 / r) ** 0.5
        statistics = dict(zip(self._names, (beyond / error).tolist(), strict=True))
        statistics |= {"noise": math.copysign(quieter, noise) / noise_error, "other": rest / rest_error}
        tails = {name: 2 * float(student_t.sf(abs(value), r - 1)) for name, value in statistics.items()}
        tails["other"] = float(student_t.sf(statistics["other"], r - 1))  # less than noise is no change
        p = min(1.0, self._tests * min(tails.values()))
        limit = float(student_t.isf(self.level / self._tests / 2, r - 1))

        kind = "none"
        if p < self.level:
            # louder frames scatter more without any change of their mean: ask what remains beyond that
            loud = tails["noise"] < self.level / self._tests and noise > 0
            louder = ((math.exp(noise) if loud else 1.0) / m + 1 / r) / share
            remains = (beyond / error).abs() / louder**0.5
            excess = model.energies(change, self.spread * (share * louder) ** 0.5, remains > limit)
            one_sided = float(student_t.isf(self.level / self._tests, r - 1))
            if (rest - math.log(louder)) / rest_error > one_sided:
                excess["other"] = (left - share * louder * self.noise) * self.mean.numel()
            first = min(tails, key=lambda name: tails[name])
            kind = max(excess, key=lambda name: excess[name]) if excess else CHANGES.get(first, (first,))[0]
        deviation = math.exp(noise / 2)
        estimates = {
            name: (value, uncertain)
            for name, value, uncertain in zip(self._names, change.tolist(), error.tolist(), strict=True)
        }
        estimates["noise"] = (deviation - 1, deviation * noise_error / 2)
        return Look(p < self.level, kind, p, self.level, estimates, statistics, limit)

    @property
    def level(self) -> float:
        """Probability of a false alarm of one look: ``false_alarm / looks``."""
        return self.false_alarm / self.looks

    def smallest(self, rounds: int = 4, power: float = 0.95) -> dict[str, float]:
        """The smallest changes that a look finds.

        Args:
            rounds: of the look.
            power: probability that such a change alone makes the look due.

        Returns:
            For each parameter of the model, in the units of `Look.estimates`, what is harmless included.

        Raises:
            InvalidArgument: fewer than two rounds, or a power that is not between 0 and 1.

        Example:
            >>> g = torch.Generator().manual_seed(0)
            >>> scenes = torch.rand(1, 4, 1, 12, 12, generator=g)
            >>> frames = scenes + 0.01 * torch.randn(16, 4, 1, 12, 12, generator=g)
            >>> DriftMonitor.fit(frames).smallest(rounds=8)["gain"] < 0.01
            True
        """
        from scipy.stats import t as student_t

        m, r = checks.count("rounds", rounds, least=2), self.rounds
        quantiles = student_t.isf(self.level / self._tests / 2, r - 1) + student_t.isf(
            1 - _probability("power", power), r - 1
        )
        found = self.spread * (1 / m + 1 / r) ** 0.5 * float(quantiles)
        return {
            name: value + self.harmless.get(name, 0.0)
            for name, value in zip(self._names, found.tolist(), strict=True)
        }

    @property
    def _names(self) -> list[str]:
        return list({**CHANGES, **self.responses})

    @property
    def _tests(self) -> int:
        return len(self._names) + 2  # noise and other

    @cached_property
    def _response(self) -> Response:
        return Response(self.mean, self.weight, self.responses)

    def save(self, path: str | Path) -> None:
        """Write the monitor as HDF5 with checksums (see `photonet.measured.container`), atomically.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "monitor.h5"
            >>> monitor = DriftMonitor.fit(torch.rand(1, 4, 8, 8) + 0.01 * torch.randn(9, 4, 8, 8))
            >>> monitor.save(path)
            >>> DriftMonitor.load(path).noise == monitor.noise
            True
        """
        write_monitor(path, {f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> DriftMonitor:
        """Read a monitor that `save` wrote.

        Raises:
            InvalidArgument: no path.
            DataMissing: there is no such file.
            DataError: the file is damaged, or holds something else.
        """
        return cls(**read_monitor(path))

    def __repr__(self) -> str:
        n, k, y, x = self.mean.shape
        return (
            f"DriftMonitor({n} scenes of {k} x {y} x {x}, {self.rounds} rounds, "
            f"false alarms {self.false_alarm:g} in {self.looks} looks)"
        )


def _checked_response(name: str, value: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    taken = {*CHANGES, "shift", "noise", "other", "none"} - {"defocus"}
    if name in taken or not name.isidentifier():
        raise InvalidArgument("responses", "names of changes that the monitor does not know yet", repr(name))
    value = as_tensor(f"responses[{name!r}]", value)
    value = value[:, None] if value.ndim == 3 else value
    if value.shape != mean.shape:
        raise GridMismatch(
            f"responses[{name!r}]", f"frames of shape {tuple(mean.shape)}", f"{tuple(value.shape)}"
        )
    return value.to(mean)


def _probability(name: str, value: float) -> float:
    """A probability that is neither 0 nor 1."""
    number = checks.fraction(name, value)
    if number in (0, 1):
        raise InvalidArgument(name, "a probability above 0 and below 1", number)
    return number


def _harmless(limits: Mapping[str, float], tests: Sequence[str]) -> dict[str, float]:
    for name in limits:
        checks.choice("harmless", name, tests)
    return {name: checks.non_negative(f"harmless[{name!r}]", limit) for name, limit in limits.items()}
