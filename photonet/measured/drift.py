"""`DriftMonitor`: a few probe scenes, shown again and again, tell when the bench has changed, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from .. import checks
from ..errors import DataError, GridMismatch, InvalidArgument
from ..files import atomic_path
from ..provenance import provenance, tensor_hash
from .changes import CHANGES, Response
from .container import HEADER_BYTES, SealedFile, seal
from .features import Measured

__all__ = ["KINDS", "DriftMonitor", "Look"]

TESTS = (*CHANGES, "noise", "other")

KINDS = ("none", *dict.fromkeys(kind for kind, _ in CHANGES.values()), "noise", "other")
"""What a look can find."""

LEAST_ROUNDS = 8
"""Of the reference: the spread between rounds is estimated from them, with one degree of freedom less."""

MOST_NOISE = 0.2
"""Share of noise in the mean square of the reference's mean frames, above which the model means nothing."""

FORMAT = "photonet drift monitor 1"

TINY = 1e-300


@dataclass(frozen=True)
class Look:
    """What one look at the probe scenes found.

    Args:
        due: whether to recalibrate.
        kind: one of `KINDS`: what explains most of the change; ``none`` if nothing is due. ``other`` is a
            change of the mean frames that is none of the named ones (a turned camera, dust, a dead row).
        p: probability of at least so much evidence from a quiet bench (Bonferroni over the tests).
        level: the look is due when ``p`` is below it.
        estimates: ``gain`` (relative), ``offset`` (units of the frames), ``shift_y``, ``shift_x`` (pixels of
            the frames), ``defocus`` (half of the added variance of the blur, pixel²) and ``noise`` (relative
            change of its standard deviation): value and standard error.
        statistics: each of the tests in standard deviations of a quiet bench.
        limit: of the absolute statistics, above which a look is due.
    """

    due: bool
    kind: str
    p: float
    level: float
    estimates: dict[str, tuple[float, float]]
    statistics: dict[str, float]
    limit: float

    def __str__(self) -> str:
        if not self.due:
            return f"quiet (p = {self.p:.2g}, alarm below {self.level:.2g})"
        named = [name for name in self.estimates if name.startswith(self.kind)]
        numbers = [
            f"{name} {self.estimates[name][0]:+.3g} ± {self.estimates[name][1]:.2g}"
            f"{' ' + CHANGES[name][1] if name in CHANGES and CHANGES[name][1] else ''}"
            for name in named
        ]
        return f"recalibrate: {self.kind} ({', '.join([*numbers, f'p = {self.p:.1g}'])})"


@dataclass(frozen=True)
class DriftMonitor:
    r"""Tells from repeated frames of the same probe scenes whether the bench is still the one it was.

    The reference is r rounds, in each of which all probe scenes are shown once, with the mean frames z. A
    look is m rounds of the same scenes. The change of its mean frames is fitted, by least squares weighted
    with the channels' noise, with

    .. math:: \delta = g z + o - s_y \partial_y z - s_x \partial_x z + d \nabla^2 z

    Each of the five estimates is divided by its standard error, which comes from the spread of the same
    estimate between the rounds of the reference: whatever common noise the bench has, such as a laser that
    flickers, is in it. Two more tests look at the noise within the look, and at what the model leaves over.
    Each is compared with Student's t of r - 1 degrees of freedom at ``false_alarm`` / (7 ``looks``), the
    Bonferroni bound for seven tests and that many looks.

    So ``false_alarm`` is the probability that at least one of ``looks`` looks at an unchanged bench is due,
    over references and looks together; one reference by itself can be a little luckier or unluckier. It
    holds if rounds are independent. A laser that wanders over hours is a change, unless the reference
    spans those hours.

    No labels are used, and the scenes themselves may be unknown. Make one with `fit`.

    Args:
        mean: mean reference frames, float64 [n, k, y, x].
        weight: of each channel in the fit, the inverse of its noise variance, [k].
        bias: of the five estimates at rest, found by leaving rounds out, [5]: noise of the mean frames is in
            the templates too.
        spread: standard deviation of the five estimates between single rounds, [5].
        noise: mean residual energy per value of a round, in units of its variance.
        noise_spread: standard deviation of its logarithm between rounds.
        rounds: of the reference, r.
        false_alarm: probability as stated above.
        looks: how many looks it is for.
        scenes: hash of the probe scenes, or "" if frames came without them.
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

    @classmethod
    def fit(
        cls, reference: Sequence[Measured] | torch.Tensor, *, false_alarm: float = 0.01, looks: int = 1
    ) -> DriftMonitor:
        """Learn the frames of the probe scenes and their noise from a quiet bench.

        Args:
            reference: at least 8 rounds of the same scenes in the same order: `Measured` objects, or frames
                or feature maps [rounds, scenes, (channels,) y, x].
            false_alarm: probability of at least one alarm in ``looks`` looks at an unchanged bench.
            looks: how many looks that probability is for.

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
        frames, scenes = _stack("reference", reference, LEAST_ROUNDS)
        level = checks.fraction("false_alarm", false_alarm)
        if not 0 < level < 1:
            raise InvalidArgument("false_alarm", "a probability above 0 and below 1", false_alarm)
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
        # each round as if it were the look, against the mean of the others
        others = [Response((r * mean - frame) / (r - 1), weight) for frame in frames]
        deltas = (frames - mean) * (r / (r - 1))
        estimates = torch.stack([one.fit(delta)[0] for one, delta in zip(others, deltas, strict=True)])
        bias = estimates.mean(0)
        energy = torch.stack([one.fit(delta, bias)[1] for one, delta in zip(others, deltas, strict=True)])
        shrink = (r - 1) / r
        return cls(
            mean=mean,
            weight=weight,
            bias=bias * shrink,
            spread=estimates.std(0) * shrink,
            noise=float(energy.mean()) * shrink,
            noise_spread=float(energy.log().std()),
            rounds=r,
            false_alarm=level,
            looks=checks.count("looks", looks),
            scenes=scenes,
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

        new, scenes = _stack("frames", frames, 2)
        if new.shape[1:] != self.mean.shape:
            raise GridMismatch(
                "frames", f"rounds of shape {tuple(self.mean.shape)}", f"{tuple(new.shape[1:])}"
            )
        if scenes and self.scenes and scenes != self.scenes:
            raise GridMismatch("frames", "the probe scenes of the reference in their order", "other scenes")
        new = new.to(self.mean)
        m, r, model = len(new), self.rounds, self._response
        share, centre = 1 / m + 1 / r, new.mean(0)
        change, left = model.fit(centre - self.mean, self.bias)
        within = sum(float(model.fit(one - centre)[1]) for one in new) / (m - 1)

        noise = math.log(max(within, TINY) / self.noise)
        rest = math.log(max(float(left), TINY) / share / self.noise)
        error = self.spread * share**0.5
        noise_error = self.noise_spread * (1 / (m - 1) + 1 / r) ** 0.5
        rest_error = self.noise_spread * (1 + 1 / r) ** 0.5
        statistics = dict(zip(CHANGES, (change / error).tolist(), strict=True))
        statistics |= {"noise": noise / noise_error, "other": rest / rest_error}
        tails = {name: 2 * float(student_t.sf(abs(value), r - 1)) for name, value in statistics.items()}
        tails["other"] = float(student_t.sf(statistics["other"], r - 1))  # less than noise is no change
        p = min(1.0, len(TESTS) * min(tails.values()))
        limit = float(student_t.isf(self.level / len(TESTS) / 2, r - 1))

        kind = "none"
        if p < self.level:
            # louder frames scatter more without any change of their mean: ask what remains beyond that
            louder = (max(1.0, math.exp(noise)) / m + 1 / r) / share
            remains = (change / error).abs() / louder**0.5
            excess = model.energies(change, self.spread * (share * louder) ** 0.5, remains > limit)
            if (rest - math.log(louder)) / rest_error > limit:
                excess["other"] = (float(left) - share * louder * self.noise) * self.mean.numel()
            kind = max(excess, key=lambda name: excess[name]) if excess else "noise"
        deviation = math.exp(noise / 2)
        estimates = {
            name: (value, uncertain)
            for name, value, uncertain in zip(CHANGES, change.tolist(), error.tolist(), strict=True)
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
            For each parameter of the model, in the units of `Look.estimates`.

        Example:
            >>> frames = torch.rand(1, 4, 1, 12, 12) + 0.01 * torch.randn(16, 4, 1, 12, 12)
            >>> DriftMonitor.fit(frames).smallest(rounds=8)["gain"] < 0.01
            True
        """
        from scipy.stats import t as student_t

        m, r = checks.count("rounds", rounds, least=2), self.rounds
        quantiles = student_t.isf(self.level / len(TESTS) / 2, r - 1) + student_t.isf(
            1 - checks.fraction("power", power), r - 1
        )
        found = self.spread * (1 / m + 1 / r) ** 0.5 * float(quantiles)
        return dict(zip(CHANGES, found.tolist(), strict=True))

    @cached_property
    def _response(self) -> Response:
        return Response(self.mean, self.weight)

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
        import h5py

        with atomic_path(path) as temporary:
            with h5py.File(temporary, "w", userblock_size=HEADER_BYTES) as file:
                for name in ARRAYS:
                    file[name] = getattr(self, name).cpu().numpy()
                for name in NUMBERS:
                    file.attrs[name] = getattr(self, name)
                file.attrs.update(provenance(format=FORMAT))
            seal(temporary)

    @classmethod
    def load(cls, path: str | Path) -> DriftMonitor:
        """Read a monitor that `save` wrote.

        Raises:
            DataMissing: there is no such file.
            DataError: the file is damaged, or holds something else.
        """
        import h5py

        with SealedFile(path) as sealed:
            try:
                with h5py.File(sealed, "r") as file:
                    if file.attrs.get("format") != FORMAT:
                        raise DataError(f"{path}: expected a file of the format {FORMAT!r}")
                    values: dict[str, Any] = {name: torch.from_numpy(file[name][()]) for name in ARRAYS}
                    values |= {name: kind(file.attrs[name]) for name, kind in NUMBERS.items()}
            except DataError:
                raise
            except Exception as error:  # of whatever type h5py raises
                raise DataError(f"{path}: {sealed.damage or f'not readable as a monitor: {error}'}") from None
        return cls(**values)

    def __repr__(self) -> str:
        n, k, y, x = self.mean.shape
        return (
            f"DriftMonitor({n} scenes of {k} x {y} x {x}, {self.rounds} rounds, "
            f"false alarms {self.false_alarm:g} in {self.looks} looks)"
        )


ARRAYS = ("mean", "weight", "bias", "spread")
NUMBERS: dict[str, type] = {
    "noise": float, "noise_spread": float, "rounds": int, "false_alarm": float, "looks": int, "scenes": str,
}  # fmt: skip


def _stack(name: str, frames: Sequence[Measured] | torch.Tensor, least: int) -> tuple[torch.Tensor, str]:
    """Rounds as float64 [rounds, n, k, y, x], and the hash of their scenes."""
    scenes = ""
    if not isinstance(frames, torch.Tensor):
        rounds = list(frames)
        if not rounds or not all(isinstance(one, Measured) for one in rounds):
            raise InvalidArgument(name, "rounds: `Measured` objects, or a tensor", _describe(rounds))
        for index, one in enumerate(rounds):
            if one.features.shape != rounds[0].features.shape:
                raise GridMismatch(
                    f"{name}[{index}]", f"shape {tuple(rounds[0].features.shape)}", tuple(one.features.shape)
                )
            if not torch.equal(one.scenes, rounds[0].scenes):
                raise GridMismatch(f"{name}[{index}]", "the scenes of the first round", "others")
        scenes = tensor_hash(rounds[0].scenes)
        frames = torch.stack([one.features for one in rounds])
    if frames.ndim == 4:
        frames = frames[:, :, None]
    if frames.ndim != 5 or frames.is_complex() or not frames.numel():
        raise InvalidArgument(
            name, "real frames [rounds, scenes, (channels,) y, x]", f"shape {tuple(frames.shape)}"
        )
    if len(frames) < least:
        raise InvalidArgument(name, f"at least {least} rounds of the probe scenes", len(frames))
    return checks.finite(name, frames.detach()).double(), scenes


def _describe(rounds: Sequence[object]) -> str:
    return ", ".join(sorted({type(one).__name__ for one in rounds})) or "nothing"
