"""Where in the unit cube the devices of a study lie.

| name | rows | extends | yield |
| --- | --- | --- | --- |
| random | independent (Monte Carlo) | yes | yes |
| sobol | scrambled Sobol' points: fewer devices for the same error, best at powers of two | yes | yes |
| lhs | Latin hypercube: each error alone is spread evenly | no | yes |
| one-at-a-time | the median device, then each error swept alone, over 2 quantiles or more | no | no |
| saltelli | blocks of D + 2 devices for Sobol' indices | yes | no |

"Extends": the first rows do not depend on how many are drawn, so a study can be continued to more devices.
"Yield": every row follows the given laws, so the share of rows that pass estimates the yield.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..checks import count, lookup
from ..errors import InvalidArgument

__all__ = ["SAMPLERS", "Sampler", "unit_cube"]

# Quantile functions are infinite on the faces of the cube: a point on a face (probability about 1e-16)
# moves to the nearest point inside it.
NEAREST_TO_0, NEAREST_TO_1 = 2.0**-54, 1 - 2.0**-53
SOBOL_BITS = 30
LEAST_LEVELS = 2
"""Of an error that is swept: a single one is the median, which row 0 is already."""


@dataclass(frozen=True)
class Sampler:
    """One entry of the table `SAMPLERS`.

    Args:
        points: ``(samples, errors, generator)`` to float64 points [samples, errors] in the closed unit cube.
        extends: whether the first rows are the same for any number of samples.
        design: what the rows are: a ``"sample"`` of the laws, of which a yield may be estimated, ``"blocks"``
            for Sobol' indices, or a ``"sweep"`` of one error after the other.
    """

    points: Callable[[int, int, np.random.Generator], np.ndarray]
    extends: bool
    design: Literal["sample", "blocks", "sweep"] = "sample"


def _random(samples: int, errors: int, generator: np.random.Generator) -> np.ndarray:
    return generator.random((samples, errors))


def _sobol(samples: int, errors: int, generator: np.random.Generator) -> np.ndarray:
    """Owen-type scrambled points (scipy: left linear matrix scramble and digital shift)."""
    from scipy.stats import qmc

    power = max(samples - 1, 0).bit_length()  # the next power of two, of which the first rows are kept
    if power > SOBOL_BITS or errors > qmc.Sobol.MAXDIM:
        raise InvalidArgument(
            "samples",
            f"at most 2**{SOBOL_BITS} samples of {qmc.Sobol.MAXDIM} errors for Sobol' points",
            f"{samples} of {errors}",
            "use sampler='random'",
        )
    points = qmc.Sobol(errors, scramble=True, bits=SOBOL_BITS, seed=generator).random_base2(power)
    return points[:samples] + 2.0 ** -(SOBOL_BITS + 1)  # the middle of each cell, not its corner


def _latin_hypercube(samples: int, errors: int, generator: np.random.Generator) -> np.ndarray:
    cells = generator.permuted(np.tile(np.arange(samples)[:, None], (1, errors)), axis=0)
    return (cells + generator.random((samples, errors))) / samples


def _one_at_a_time(samples: int, errors: int, generator: np.random.Generator) -> np.ndarray:
    """Row 0 is the median device; then, error by error, equally spaced quantiles of that error alone."""
    levels, rest = divmod(samples - 1, errors)
    if rest or levels < LEAST_LEVELS:
        why = f"one for the median device and as many for each error, at least {LEAST_LEVELS}"
        raise _refused(samples, errors, 1, LEAST_LEVELS, why)
    points = np.full((samples, errors), 0.5)
    for error in range(errors):
        first = 1 + error * levels
        points[first : first + levels, error] = (np.arange(levels) + 0.5) / levels
    return points


def _saltelli(samples: int, errors: int, generator: np.random.Generator) -> np.ndarray:
    """Blocks of rows A, B, AB_1, ..., AB_D, where AB_i is A with coordinate i of B.

    Saltelli et al., Comput. Phys. Commun. 181 (2010) 259; A and B are the halves of one Sobol' point in
    twice as many dimensions.
    """
    blocks, rest = divmod(samples, errors + 2)
    if rest or blocks < 1:
        raise _refused(samples, errors + 2, 0, 1, "errors + 2 for each point of the design")
    both = _sobol(blocks, 2 * errors, generator)
    points = np.repeat(both[:, None, :errors], errors + 2, axis=1)
    points[:, 1] = both[:, errors:]
    for error in range(errors):
        points[:, 2 + error, error] = both[:, errors + error]
    return points.reshape(samples, errors)


def _refused(samples: int, step: int, offset: int, least: int, why: str) -> InvalidArgument:
    below = max((samples - offset) // step, least) * step + offset
    near = f"{below}" if below > samples else f"{below} or {below + step}"
    return InvalidArgument("samples", f"a number that fits the design ({why})", samples, f"use {near}")


SAMPLERS: dict[str, Sampler] = {
    "random": Sampler(_random, extends=True),
    "sobol": Sampler(_sobol, extends=True),
    "lhs": Sampler(_latin_hypercube, extends=False),
    "one-at-a-time": Sampler(_one_at_a_time, extends=False, design="sweep"),
    "saltelli": Sampler(_saltelli, extends=True, design="blocks"),
}
"""The samplers by name; add an entry to add one."""


def unit_cube(sampler: str, samples: int, errors: int, *, seed: int) -> np.ndarray:
    """Points in the open unit cube, the same for the same seed.

    Sobol' points keep their balance when ``samples`` is a power of two. For any other number the first
    ``samples`` points of the next power of two are taken: still unbiased, but no longer a balanced net, so
    that the gain over Monte Carlo is smaller.

    Args:
        sampler: a name in `SAMPLERS`.
        samples: how many points.
        errors: dimension of the cube.
        seed: whole number; fixes the points.

    Returns:
        float64 [samples, errors], strictly between 0 and 1.

    Raises:
        UnknownName: no sampler of that name.
        InvalidArgument: a number of samples that the design cannot have.

    Example:
        >>> unit_cube("sobol", 4, 2, seed=0).shape
        (4, 2)
        >>> unit_cube("one-at-a-time", 5, 2, seed=0)
        array([[0.5 , 0.5 ],
               [0.25, 0.5 ],
               [0.75, 0.5 ],
               [0.5 , 0.25],
               [0.5 , 0.75]])
    """
    entry = lookup("sampler", sampler, SAMPLERS)
    samples, errors = count("samples", samples), count("errors", errors)
    generator = np.random.default_rng(np.random.SeedSequence(count("seed", seed, 0), spawn_key=(0,)))
    points = np.asarray(entry.points(samples, errors, generator), dtype=np.float64)
    return np.clip(points, NEAREST_TO_0, NEAREST_TO_1)
