"""Devices from seeds: what an error is, and how its draws are made, device by device.

Each device has a stream of its own, derived from (seed, device number, name of the error). So device 17
of seed 3 is the same device whether it is drawn alone, in a batch of 64 or by another worker, and adding
an error to a list leaves the draws of the others as they were (common random numbers for sensitivities).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from .. import checks
from ..errors import InvalidArgument
from ..streams import Seed, stream
from .geometry import Geometry

__all__ = ["Draw", "FabricationError", "apply", "as_errors", "correlated_normal", "draw", "fabricate"]

Draw = dict[str, torch.Tensor]
"""What one error did to one device (or to a batch): named numbers, in the unit of the error, float64."""


@runtime_checkable
class FabricationError(Protocol):
    """One way in which a made mask differs from its design.

    ``sample`` draws one device and knows nothing of the nominal lengths; ``apply`` is a differentiable
    function of geometry and draw, and broadcasts a leading device axis of the draw.
    """

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: tensors that broadcast against ``geometry.shape``, with as many axes."""
        ...

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """The geometry with this error."""
        ...


def as_errors(errors: Any) -> list[FabricationError]:
    """A list of errors from one or several.

    Raises:
        InvalidArgument: something in it is not a fabrication error.
    """
    several = [errors] if isinstance(errors, FabricationError) else errors
    if not isinstance(several, Sequence) or not all(isinstance(e, FabricationError) for e in several):
        raise InvalidArgument("errors", "a fabrication error or a sequence of them", repr(errors)[:80])
    for error in several:
        if isinstance(error, type):  # a class has all that its errors have
            raise InvalidArgument("errors", "errors with their sizes", f"the class {error.__name__}")
    return list(several)


def draw(
    errors: Any,
    geometry: Geometry,
    *,
    seed: Seed,
    devices: int | Iterable[int] | None = None,
) -> list[Draw]:
    """Draw what each error does to each device.

    Args:
        errors: one error or a sequence of them.
        geometry: the nominal geometry (its shape, pitch and elements per sample matter, not its values).
        seed: whole number of at least 0, or a generator from which one is taken.
        devices: None for device 0 without an axis of its own; N for devices 0 to N-1; or the numbers of
            the devices wanted, in a leading axis. A geometry of several devices that were drawn before gets
            one draw for each: None stands for all of them, another number is refused.

    Returns:
        One dictionary per error, of tensors with a leading device axis if devices are asked for; the same
        numbers on every machine and for every chunking.

    Raises:
        InvalidArgument: something else among the errors, none at all for several devices, a bad seed or
            device number, another number of devices than there are; whatever an error says of a mask it
            cannot act on.

    Example:
        >>> from photonet.fabrication import HeightError
        >>> geometry = Geometry(shape=(4, 4), pitch=(1e-6, 1e-6))
        >>> [both] = draw(HeightError(systematic=0.02), geometry, seed=1, devices=2)
        >>> [second] = draw(HeightError(systematic=0.02), geometry, seed=1, devices=[1])
        >>> bool(both["systematic"][1] == second["systematic"][0])
        True
    """
    several = as_errors(errors)
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed, device=seed.device))
    seed = checks.count("seed", seed, least=0)
    made = geometry.devices
    if devices is None:
        numbers = list(range(made or 1))
    elif isinstance(devices, Iterable):
        numbers = [checks.count("devices", d, least=0) for d in devices]
    else:
        numbers = list(range(checks.count("devices", devices)))
    if devices is not None and not several:
        raise InvalidArgument("errors", "at least one error to tell devices apart", "none")
    if not numbers:
        raise InvalidArgument("devices", "at least one device", "none")
    if made is not None and len(numbers) != made:
        raise InvalidArgument("devices", f"the {made} devices that are there, or None for them", len(numbers))
    seen: Counter[str] = Counter()
    draws = []
    for error in several:
        label = type(error).__name__
        streams = (stream(seed, f"device {d}, {label} {seen[label]}") for d in numbers)
        each = [error.sample(generator, geometry) for generator in streams]
        seen[label] += 1
        draws.append(
            each[0]
            if devices is None and made is None
            else {key: torch.stack([e[key] for e in each]) for key in each[0]}
        )
    return draws


def apply(geometry: Geometry, errors: Any, draws: Sequence[Draw]) -> Geometry:
    """The geometry after every error with its draw, in the order given."""
    for error, values in zip(as_errors(errors), draws, strict=True):
        geometry = error.apply(geometry, values)
    return geometry


def fabricate(
    geometry: Geometry,
    errors: Any,
    *,
    seed: Seed,
    devices: int | Iterable[int] | None = None,
) -> Geometry:
    """Draw and apply: the geometry of the devices that come out of the fab.

    Arguments as for `draw`.
    """
    return apply(geometry, errors, draw(errors, geometry, seed=seed, devices=devices))


def correlated_normal(
    generator: torch.Generator, shape: tuple[int, ...], pitch: tuple[float, float], correlation: float | None
) -> torch.Tensor:
    """Standard normal numbers [..., y, x] whose autocorrelation is exp(-r^2 / correlation^2).

    White noise on a lattice that reaches past the window is smoothed by exp(-2 r^2 / correlation^2) along
    y, then x, each row of weights scaled to unit square sum. The variance is therefore exactly 1 in every
    sample, nothing wraps around the edges, and correlations beyond the window cost nothing extra.

    Args:
        generator: source of the noise (on the CPU).
        shape: [..., y, x].
        pitch: (dy, dx) in m.
        correlation: length in m at which the correlation has fallen to 1/e; None (or below a third of the
            pitch, where neighbours share less than exp(-9)) for independent samples.

    Returns:
        float64 [..., y, x].
    """
    if correlation is None or correlation < min(pitch) / 3:
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    y, x = (_smoothing(n, d, correlation) for n, d in zip(shape[-2:], pitch, strict=True))
    latent = torch.randn((*shape[:-2], y.shape[1], x.shape[1]), generator=generator, dtype=torch.float64)
    return y @ latent @ x.T


def _smoothing(n: int, pitch: float, correlation: float) -> torch.Tensor:
    # 2.5 points a correlation length leave a ripple of exp(-2 pi^2 * 2.5^2 / 8) = 2e-7 in the correlation;
    # beyond 2 lengths the weight is below exp(-8)
    step, margin = correlation / 2.5, 6
    position = torch.arange(n, dtype=torch.float64) * pitch
    node = torch.arange(-margin, int((n - 1) * pitch / step) + margin + 2, dtype=torch.float64) * step
    weight = torch.exp(-2 * ((position[:, None] - node) / correlation) ** 2)
    return weight / weight.square().sum(1, keepdim=True).sqrt()
