"""Tangent-space Gauss-Newton: the backend that answers as wanted, by linear algebra instead of descent."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.func import functional_call, jvp, vjp

from .. import checks, ntk
from ..errors import GridMismatch, InvalidArgument, TrainingDiverged

__all__ = ["gauss_newton"]

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Noise variances s^2 that leave-one-image-out chooses from, relative to the kernel's mean diagonal."""

JUDGED = 128
"""Images whose kernel is formed to choose the strength: it is a noise variance, so it holds for more."""

Parameters = dict[str, torch.Tensor]

CG_STEPS = 200
CG_TOLERANCE = 1e-4
"""Relative slope at which conjugate gradients end, far below the noise that the strength allows for."""


def gauss_newton(
    backend: nn.Module,
    features: torch.Tensor,
    wanted: torch.Tensor,
    *,
    iterations: int = 5,
    strength: float | None = None,
) -> nn.Module:
    r"""A copy of ``backend`` that answers ``wanted``, as near to its old parameters as the noise allows.

    Each iteration solves the regularised least squares of the network linearised at :math:`\theta_k`, but
    anchored at the parameters :math:`\theta_0` that came in:

    .. math::

        r = y - f(\theta_k) + J_k (\theta_k - \theta_0), \quad
        (J_k J_k^T + s^2 \bar k) a = r, \quad \theta_{k+1} = \theta_0 + J_k^T a

    with class-centred logits (softmax does not see what all classes share) and the mean diagonal
    :math:`\bar k` of the tangent kernel. The first iteration is kernel regression with the backend's own
    tangent kernel. The equal least squares over the parameters is solved by conjugate gradients, from
    forward and backward derivatives and the last iterate; the kernel is formed only of up to 128 images,
    where the strength :math:`s^2` is the one with the least leave-one-image-out error in closed form
    (Rasmussen, Williams, Gaussian Processes for Machine Learning, eq. 5.12, with a block of all classes for
    each image). A step that raises the objective is halved.
    There is no learning rate, no labels and no held-out data.

    Args:
        backend: any module without randomness; taken in evaluation mode.
        features: [n, ...], what it sees.
        wanted: [n, classes], logits it should give.
        iterations: linearisations.
        strength: :math:`s^2`; None to choose it.

    Returns:
        A new module, frozen, in evaluation mode.

    Raises:
        GridMismatch: the backend gives other outputs than ``wanted`` has, or outputs that are dense.
        InvalidArgument: fewer than two frames, no iterations, or values that are not finite.
        TrainingDiverged: the outputs became infinite.

    Example:
        >>> backend, features = nn.Linear(3, 2), torch.randn(20, 3)
        >>> wanted = torch.stack([features[:, 0], -features[:, 0]], dim=1)
        >>> found = gauss_newton(backend, features, wanted, strength=1e-4)
        >>> float((found(features) - wanted).diff(dim=1).abs().max()) < 0.05
        True
    """
    checks.count("iterations", iterations)
    features = checks.finite("features", features).detach()
    if len(features) < 2:
        raise InvalidArgument("features", "two or more frames", len(features))
    model = copy.deepcopy(backend).eval().requires_grad_(True)
    with torch.no_grad():
        shape = tuple(model(features).shape)
    if len(shape) != 2 or shape != tuple(wanted.shape):
        raise GridMismatch("wanted", f"logits [n, classes] like the backend's {shape}", tuple(wanted.shape))
    names = list(start := {name: p.detach().clone() for name, p in ntk.select(model).items()})
    target = _centred(checks.finite("wanted", wanted).detach())

    def outputs(parameters: Parameters) -> torch.Tensor:
        return _centred(functional_call(model, parameters, (features,)))

    few = slice(0, JUDGED)
    with torch.no_grad():
        kernel = ntk.gram(model, features[few], outputs="full")
        kernel = _centred(_centred(kernel, 2), 3)
        mean = kernel.diagonal(dim1=0, dim2=1).diagonal(dim1=0, dim2=1).mean()
        if strength is None:
            strength = _leave_one_image_out(kernel, (target - outputs(start))[few], mean)
    ridge = checks.positive("strength", strength) * mean

    at, moved = start, {name: torch.zeros_like(p) for name, p in start.items()}
    cost = _objective(target - outputs(at), moved, ridge)
    for _ in range(iterations):
        value, pull = vjp(outputs, at)[:2]

        def push(step: Parameters, at: Parameters = at) -> torch.Tensor:
            return _forward_derivative(outputs, at, step)

        def back(a: torch.Tensor, pull: Callable[[torch.Tensor], tuple[Parameters]] = pull) -> Parameters:
            return pull(a)[0]

        full = _least_squares(push, back, target - value, moved, ridge)
        step = {name: full[name] - moved[name] for name in names}
        for part in (1.0, 0.5, 0.25, 0.125):
            tried = {name: moved[name] + part * step[name] for name in names}
            there = {name: start[name] + tried[name] for name in names}
            new = _objective(target - outputs(there), tried, ridge)
            if new <= cost:
                break
        else:
            break
        at, moved, cost = there, tried, new
    if not torch.isfinite(cost):
        raise TrainingDiverged("the outputs became infinite in Gauss-Newton; scale the features")
    model.load_state_dict(at, strict=False)
    return model.requires_grad_(False)


def _centred(logits: torch.Tensor, axis: int = 1) -> torch.Tensor:
    return logits - logits.mean(dim=axis, keepdim=True)


def _forward_derivative(
    outputs: Callable[[Parameters], torch.Tensor], at: Parameters, along: Parameters
) -> torch.Tensor:
    with warnings.catch_warnings():
        # torch's own rules for forward derivatives are compiled on first use by a deprecated function
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
        pushed: torch.Tensor = jvp(outputs, (at,), (along,))[1]
    return pushed


def _objective(left: torch.Tensor, moved: Parameters, ridge: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return left.square().sum() + ridge * sum(p.square().sum() for p in moved.values())


def _leave_one_image_out(kernel: torch.Tensor, right: torch.Tensor, mean: torch.Tensor) -> float:
    """The strength with the least error of predicting each image from the others; kernel [n, n, c, c]."""
    n, _, c, _ = kernel.shape
    power, basis = torch.linalg.eigh(kernel.double().permute(0, 2, 1, 3).reshape(n * c, n * c))
    along = basis.T @ right.double().flatten()
    rows = basis.reshape(n, c, n * c)
    errors = []
    for strength in STRENGTHS:
        inverse = 1 / (power.clamp_min(0) + strength * mean)
        weights = (basis @ (inverse * along)).reshape(n, c, 1)
        blocks = (rows * inverse) @ rows.mT  # [n, c, c]: an image's own block of the inverse
        errors.append(float(torch.linalg.solve(blocks, weights).square().sum()))
    return STRENGTHS[min(range(len(errors)), key=errors.__getitem__)]


def _least_squares(
    push: Callable[[Parameters], torch.Tensor],
    pull: Callable[[torch.Tensor], Parameters],
    left: torch.Tensor,
    start: Parameters,
    ridge: torch.Tensor,
) -> Parameters:
    r"""The x that makes :math:`|left - J (x - start)|^2 + ridge |x|^2` least, from products with J alone.

    Conjugate gradients on the normal equations (Hestenes and Stiefel, J. Res. NBS 49, 409, 1952): each step
    lowers this objective, so that steps which run out, as with thousands of frames, still leave an
    improvement. (The steps of the equal system :math:`(J J^T + ridge) a = r` do not.)
    """
    x = start
    slope = _combined(pull(left), x, -ridge)
    direction, power = slope, _dot(slope, slope)
    enough = CG_TOLERANCE**2 * power
    for _ in range(CG_STEPS):
        if power <= enough:
            break
        image = push(direction)
        size = power / (image.square().sum() + ridge * _dot(direction, direction))
        x, left = _combined(x, direction, size), left - size * image
        slope = _combined(pull(left), x, -ridge)
        power, last = _dot(slope, slope), power
        direction = _combined(slope, direction, power / last)
    return x


def _combined(a: Parameters, b: Parameters, factor: torch.Tensor) -> Parameters:
    return {name: a[name] + factor * b[name] for name in a}


def _dot(a: Parameters, b: Parameters) -> torch.Tensor:
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()
