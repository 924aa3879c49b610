"""How a bench is turned, enlarged and displaced against its simulation, from pictures of both."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from .. import checks
from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from .lab import spline_taps, spline_through, warp
from .orientation import ORIENTATIONS, orient, orient_back, orient_kernels

__all__ = ["Registration", "mixture", "register", "unexplained"]

ANGLES = (0.0, -0.12, 0.12, -0.24, 0.24)
SCALES = (0.0, -0.15, 0.15)
"""Starting points in rad and relative: the basin of attraction around each overlaps with its neighbours'."""

UNLIKELY = 0.5
"""Relative residual at the best upright start, from which the other orientations are tried too."""

LEAST_SAMPLES = 3
"""Along each axis: a turn of fewer is not seen."""

COARSE_FRAMES = 32
"""Frames that the starting points are compared on."""

STEPS = (1e-4, 1e-4, 1e-3, 1e-3)
"""Of the central differences, far above rounding and far below the size of a detail."""

TIGHT = 1e-8
"""Relative change of the cost at which the descent ends."""


@dataclass(frozen=True)
class Registration:
    """The geometry of a bench: an orientation, then the parameters of `photonet.measured.lab.warp`.

    Args:
        rotation: in rad.
        scale: relative enlargement.
        shift_y, shift_x: in samples of the simulated maps.
        error: standard errors of the four, in their order, if the residual is independent noise.
        before: relative residual, norm over norm, with the best gain and offset alone.
        after: the same with the geometry.
        orientation: one of `photonet.measured.orientation.ORIENTATIONS`: what a lens or a mirror does first.
    """

    rotation: float
    scale: float
    shift_y: float
    shift_x: float
    error: tuple[float, float, float, float]
    before: float
    after: float
    orientation: str = "upright"

    def apply(self, maps: torch.Tensor) -> torch.Tensor:
        """The simulated maps [..., y, x] as the bench displaces them."""
        return self.move(orient(maps, self.orientation))

    def move(self, oriented: torch.Tensor) -> torch.Tensor:
        """Maps that have the bench's orientation already."""
        return warp(oriented, self.rotation, self.scale, self.shift_y, self.shift_x)

    def turn(self, kernels: torch.Tensor) -> torch.Tensor:
        """Kernels [..., v, u] with a dark margin, as displaced scenes need them to give displaced images."""
        return warp(orient_kernels(kernels, self.orientation), self.rotation, self.scale)

    def undo(self, maps: torch.Tensor) -> torch.Tensor:
        """Displaced maps [..., y, x] back where the simulation has them; what left the window is dark.

        Example:
            >>> picture = torch.zeros(1, 15, 15, dtype=torch.float64)
            >>> picture[0, 5:10, 6:9] = 1.0
            >>> found = Registration(0.3, 0.1, 0.5, -1.0, (0.0,) * 4, 1.0, 0.0)
            >>> float((found.undo(found.apply(picture)) - picture).abs().mean()) < 0.02
            True
        """
        cos, sin = math.cos(self.rotation) / (1 + self.scale), math.sin(self.rotation) / (1 + self.scale)
        shift_y = -(cos * self.shift_y - sin * self.shift_x)
        shift_x = -(cos * self.shift_x + sin * self.shift_y)
        moved = warp(maps, -self.rotation, 1 / (1 + self.scale) - 1, shift_y, shift_x)
        return orient_back(moved, self.orientation)


def register(
    simulated: torch.Tensor, measured: torch.Tensor, *, binning: int = 1, crosstalk: bool = False
) -> Registration:
    r"""Estimate rotation, scale and displacement of measured pictures against simulated ones.

    Least squares by SciPy's trust-region method over the four parameters, for all pictures at once, from
    the best of several starts. Gain and offset of every channel are no parameters: for each geometry the
    best ones follow in closed form (variable projection, Golub and Pereyra, SIAM J. Numer. Anal. 10, 413,
    1973); with ``crosstalk`` the best mixture of all simulated channels for each measured one. Up to about 20
    degrees and 25 % are found without a guess, and where none of the upright starts explains much, the same
    about each quarter turn and mirror image.

    For independent Gaussian noise this is the maximum-likelihood estimate from all scenes and channels
    together, and `Registration.error` is its Cramer-Rao bound: no unbiased estimate from the same pictures
    scatters less.

    Args:
        simulated: [n, j, y, x] maps of n scenes before binning, computed in float64.
        measured: [n, k, y / binning, x / binning] of the same scenes: frames or feature maps.
        binning: samples averaged into a measured one, along each axis.
        crosstalk: a measured channel may have light of every simulated one; otherwise k = j.

    Returns:
        `Registration`; its ``apply`` displaces maps as the bench does.

    Raises:
        GridMismatch: sizes that do not belong together.
        InvalidArgument: values that are not finite, or maps without any contrast.

    Example:
        >>> y, x = torch.meshgrid(torch.linspace(-3, 3, 24), torch.linspace(-3, 3, 24), indexing="ij")
        >>> maps = torch.exp(-((y - 0.6) ** 2) - 2 * (x + 0.4) ** 2)[None, None].double()
        >>> found = register(maps, 0.5 * warp(maps, rotation=0.1, shift_x=1.5) + 0.2)
        >>> round(found.rotation, 4), round(found.shift_x, 4)
        (0.1, 1.5)
    """
    from scipy.optimize import least_squares

    binning = checks.count("binning", binning)
    simulated, measured = as_tensor("simulated", simulated), as_tensor("measured", measured)
    for name, part in (("simulated", simulated), ("measured", measured)):
        if part.ndim != 4 or part.is_complex() or not part.numel():
            raise InvalidArgument(name, "real maps [n, k, y, x]", f"{part.dtype} {tuple(part.shape)}")
    n, channels, height, width = simulated.shape
    size = (height // binning, width // binning)
    expected = (n, measured.shape[1] if crosstalk else channels, *size)
    if measured.shape != expected or (height % binning, width % binning) != (0, 0):
        raise GridMismatch("measured", f"shape {expected}", f"{tuple(measured.shape)}")
    if min(height, width) < LEAST_SAMPLES:
        small = f"maps of at least {LEAST_SAMPLES} x {LEAST_SAMPLES} samples"
        raise InvalidArgument("simulated", small, f"{height} x {width}")
    maps, seen = simulated.detach().double(), measured.detach().double()
    for name, part in (("simulated", maps), ("measured", seen)):
        if torch.equal(part.amax((0, 2, 3)), part.amin((0, 2, 3))):
            raise InvalidArgument(name, "maps with contrast", "maps that are the same everywhere")
    contrast = float(_centred(seen).norm())
    splines = spline_through(maps)
    orientation, pictures = "upright", _samples_first(splines)

    def residual(
        parameters: torch.Tensor, frames: int | None = None, oriented: torch.Tensor | None = None
    ) -> torch.Tensor:
        operator = _operator((height, width), binning, parameters.to(maps))
        chosen = (pictures if oriented is None else oriented)[:, :frames]
        moved = torch.sparse.mm(operator, chosen.flatten(1)).reshape(*size, *chosen.shape[1:])
        return unexplained(moved.permute(2, 3, 0, 1), seen[:frames], crosstalk=crosstalk).flatten()

    def jacobian(parameters: list[float]) -> torch.Tensor:
        at = torch.as_tensor(parameters, dtype=torch.float64)
        steps = torch.diag(torch.tensor(STEPS, dtype=torch.float64))
        columns = [
            (residual(at + step) - residual(at - step)) / (2 * size)
            for step, size in zip(steps, STEPS, strict=True)
        ]
        return torch.stack(columns, dim=1)

    starts = [
        torch.tensor([a, s, 0.0, 0.0], dtype=torch.float64) for a, s in itertools.product(ANGLES, SCALES)
    ]
    before = float(residual(starts[0]).norm()) / contrast

    def nearest(oriented: torch.Tensor) -> tuple[float, torch.Tensor]:
        costs = [float(residual(at, COARSE_FRAMES, oriented).norm()) for at in starts]
        return min(zip(costs, starts, strict=True), key=lambda pair: pair[0])

    least, start = nearest(pictures)
    if least > UNLIKELY * float(_centred(seen[:COARSE_FRAMES]).norm()):
        for name, (exchanged, *_) in ORIENTATIONS.items():
            if exchanged and height != width:
                continue
            oriented = _samples_first(orient(splines, name))
            cost, at = nearest(oriented)
            if cost < least:
                least, start, orientation, pictures = cost, at, name, oriented
    found = least_squares(
        lambda p: residual(torch.as_tensor(p, dtype=torch.float64)).cpu().numpy(),
        start.numpy(),
        jac=lambda p: jacobian(p).cpu().numpy(),
        x_scale=(0.1, 0.1, 1.0, 1.0),
        bounds=((-1.5, -0.7, -_span(maps), -_span(maps)), (1.5, 2.0, _span(maps), _span(maps))),
        ftol=TIGHT,
        xtol=TIGHT,
    )
    slope = torch.as_tensor(found.jac)
    variance = 2 * found.cost / max(1, slope.shape[0] - 4)
    error = (variance * torch.linalg.pinv(slope.T @ slope).diagonal()).sqrt().tolist()
    rotation, scale, dy, dx = found.x.tolist()
    after = float(2 * found.cost) ** 0.5 / contrast
    errors = (error[0], error[1], error[2], error[3])
    return Registration(rotation, scale, dy, dx, errors, before, after, orientation)


def _samples_first(maps: torch.Tensor) -> torch.Tensor:
    """Maps [n, j, y, x] as [samples, n, j]."""
    return maps.flatten(2).permute(2, 0, 1).contiguous()


def _operator(shape: tuple[int, int], binning: int, parameters: torch.Tensor) -> torch.Tensor:
    """`warp` and binning as one sparse matrix [bins, samples] for spline coefficients."""
    height, width = shape
    rows, of_rows, columns, of_columns = spline_taps(shape, *parameters)
    place, weight = rows[:, None] + columns, of_rows[:, None] * of_columns
    bin_of = torch.arange(height * width, device=place.device).reshape(height, width)
    bin_of = bin_of // width // binning * (width // binning) + bin_of % width // binning
    at = torch.stack([bin_of.expand_as(place).flatten(), place.flatten()])
    size = (height * width // binning**2, height * width)
    light = weight.flatten() / binning**2
    return torch.sparse_coo_tensor(at, light, size, check_invariants=True).coalesce()


def _span(maps: torch.Tensor) -> float:
    return max(maps.shape[-2:]) / 2


def _centred(maps: torch.Tensor) -> torch.Tensor:
    return maps - maps.mean(dim=(0, 2, 3), keepdim=True)


def mixture(model: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each channel of a model there is in each that was seen, and what is there without it.

    Args:
        model: [n, j, y, x].
        seen: [n, k, y, x].

    Returns:
        Weights [k, j] and offsets [k].

    Raises:
        GridMismatch: other scenes or sizes.

    Example:
        >>> model = torch.rand(3, 2, 5, 5, dtype=torch.float64)
        >>> seen = torch.stack([model[:, 1] + 0.2 * model[:, 0], 2 * model[:, 0] - 1], 1)
        >>> weight, offset = mixture(model, seen)
        >>> weight.round(decimals=3).tolist(), offset.round(decimals=3).tolist()
        ([[0.2, 1.0], [2.0, 0.0]], [0.0, -1.0])
    """
    _same_scenes(model, seen)
    weight = _shares(_channels_first(model), _channels_first(seen))
    return weight, seen.mean((0, 2, 3)) - weight @ model.mean((0, 2, 3))


def _channels_first(maps: torch.Tensor) -> torch.Tensor:
    """Maps [n, k, y, x] as [k, n y x], each channel about its mean."""
    return _centred(maps).transpose(0, 1).flatten(1)


def _shares(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Weights [k, j] of the channels a [j, ...] in the channels b [k, ...], by least squares."""
    gram = a @ a.T
    # captures may be copies of each other: a share of 1e-9 decides between them, far below any noise
    gram = gram + 1e-9 * gram.diagonal().mean() * torch.eye(len(a), dtype=a.dtype, device=a.device)
    return torch.linalg.solve(gram, a @ b.T).T


def unexplained(model: torch.Tensor, seen: torch.Tensor, *, crosstalk: bool = False) -> torch.Tensor:
    """What is left of each channel after its best gain and offset, or its best mixture of all channels.

    Args:
        model: [n, j, y, x].
        seen: [n, k, y, x]; k = j without ``crosstalk``.
        crosstalk: a channel may have light of every channel of the model.

    Returns:
        [n, k, y, x].

    Raises:
        GridMismatch: other scenes, sizes or (without ``crosstalk``) channels.

    Example:
        >>> model = torch.rand(3, 2, 5, 5)
        >>> float(unexplained(model, 2 * model - 1).abs().max()) < 1e-4
        True
    """
    if crosstalk:
        _same_scenes(model, seen)
        a, b = _channels_first(model), _channels_first(seen)
        return (b - _shares(a, b) @ a).unflatten(1, (len(seen), *seen.shape[2:])).transpose(0, 1)
    if model.shape != seen.shape:
        raise GridMismatch("seen", f"shape {tuple(model.shape)}", f"{tuple(seen.shape)}")
    model, seen = _centred(model), _centred(seen)
    power = model.square().sum(dim=(0, 2, 3), keepdim=True)
    gain = (model * seen).sum(dim=(0, 2, 3), keepdim=True) / power.clamp_min(torch.finfo(power.dtype).tiny)
    return seen - gain * model


def _same_scenes(model: torch.Tensor, seen: torch.Tensor) -> None:
    if len(model) != len(seen) or model.shape[2:] != seen.shape[2:]:
        raise GridMismatch("seen", f"scenes and size of {tuple(model.shape)}", f"{tuple(seen.shape)}")
