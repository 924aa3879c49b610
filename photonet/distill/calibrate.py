"""Label-free calibration: a linear map from what a device measures to what its simulation expects."""

from __future__ import annotations

import functools
import math
import operator

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import skip_init

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..measured.ridge import Moments, ridge

__all__ = ["InFront", "check_maps", "fit_full_map", "fit_ridge_map", "fit_wiener_map", "merge_into_backend"]

STRENGTHS = tuple(10.0**e for e in range(-6, 1))
"""Ridge strengths that cross-validation chooses from, relative to the mean diagonal."""

FOLDS = 5

MEMORY = 64 << 20
"""Bytes of patches at once."""


def check_maps(measured: torch.Tensor, simulated: torch.Tensor) -> None:
    """Feature maps [n, channels, y, x] of the same two or more scenes, of the same size, finite.

    Raises:
        GridMismatch: different scenes or sizes.
        InvalidArgument: other axes, fewer than two scenes, or values that are not finite.

    Example:
        >>> check_maps(torch.rand(2, 8, 7, 7), torch.rand(2, 4, 7, 7))
    """
    if measured.ndim != 4 or simulated.ndim != 4:
        raise InvalidArgument("measured", "axes [n, channels, y, x]", f"{tuple(measured.shape)}")
    if len(measured) != len(simulated) or measured.shape[-2:] != simulated.shape[-2:]:
        raise GridMismatch(
            "simulated", f"scenes and size of {tuple(measured.shape)}", f"{tuple(simulated.shape)}"
        )
    if len(measured) < 2:
        raise InvalidArgument("measured", "two or more scenes", len(measured))
    _finite_numbers(measured=measured, simulated=simulated)


def _finite_numbers(**named: torch.Tensor) -> None:
    for name, maps in named.items():
        if not maps.is_floating_point():
            raise InvalidArgument(name, "floating-point numbers", maps.dtype)
        checks.finite(name, maps)


def fit_ridge_map(measured: torch.Tensor, simulated: torch.Tensor, neighbourhood: int = 3) -> nn.Conv2d:
    r"""Fit a convolution that turns measured feature maps into simulated ones.

    Ridge regression of every simulated channel on the ``neighbourhood`` x ``neighbourhood`` patch of
    all measured channels, shared over positions, with an intercept:

    .. math:: \min_{W, b} \sum \| s - W m - b \|^2 + \lambda \| W \|^2

    :math:`\lambda` is chosen by 5-fold cross-validation over scenes (a scene is never on both
    sides). It sees scenes and simulated kernels, no labels: gain, crosstalk, offset and
    misregistration are linear, so one linear map undoes them. Solved in float64.

    Args:
        measured: [n, k, y, x], n >= 2.
        simulated: [n, c, y, x] of the same scenes.
        neighbourhood: odd width of the patch in features.

    Returns:
        A ``Conv2d(k, c, neighbourhood)`` with "same" zero padding; its parameters need no gradient.

    Raises:
        GridMismatch: different scenes or sizes.
        InvalidArgument: an even neighbourhood, fewer than two scenes, or values that are not finite.

    Example:
        >>> simulated = torch.rand(20, 2, 7, 7)
        >>> measured = 0.5 * simulated.flip(1) + 0.1  # channels swapped, dimmed, offset
        >>> error = fit_ridge_map(measured, simulated)(measured) - simulated
        >>> float(error.abs().max()) < 1e-3
        True
    """
    neighbourhood = checks.count("neighbourhood", neighbourhood)
    if neighbourhood % 2 == 0:
        raise InvalidArgument("neighbourhood", "an odd number of features", neighbourhood)
    check_maps(measured, simulated)
    folds = min(FOLDS, len(measured))
    moments = [_moments(measured[f::folds], simulated[f::folds], neighbourhood) for f in range(folds)]
    solution = ridge(moments, torch.zeros_like(moments[0].right), free=1).weight

    channels, outputs = measured.shape[1], simulated.shape[1]
    conv = skip_init(nn.Conv2d, channels, outputs, neighbourhood, padding=neighbourhood // 2)
    conv = conv.to(device=measured.device, dtype=measured.dtype).requires_grad_(False)
    weight = solution[:-1].T.reshape(outputs, channels, neighbourhood, neighbourhood)
    conv.load_state_dict({"weight": weight, "bias": solution[-1]})
    return conv


def fit_full_map(measured: torch.Tensor, simulated: torch.Tensor) -> nn.Sequential:
    r"""Fit a linear map from all measured features of a scene to all simulated ones.

    It undoes what no shared convolution can: rotation, scale, unequal pixels. Ridge regression with an
    intercept that is not penalised; the strength is the one with the least leave-one-out error, which follows
    from one singular value decomposition: the residual of scene i divided by :math:`1 - h_{ii}`, where the
    leverage h includes the intercept's 1/n. Solved in float64.

    Args:
        measured: [n, k, y, x], n >= 2.
        simulated: [n, c, v, u] of the same scenes.

    Returns:
        A module [n, k, y, x] -> [n, c, v, u] without gradients: flatten, linear, unflatten.

    Raises:
        GridMismatch: different scenes.
        InvalidArgument: fewer than two scenes, or values that are not finite.

    Example:
        >>> measured = torch.rand(200, 2, 5, 5)
        >>> turned = measured.rot90(1, (2, 3)) + 0.3
        >>> float((fit_full_map(measured, turned)(measured) - turned).abs().max()) < 1e-2
        True
    """
    if len(measured) != len(simulated):
        raise GridMismatch("simulated", f"{len(measured)} scenes", f"{len(simulated)}")
    if len(measured) < 2:
        raise InvalidArgument("measured", "two or more scenes", len(measured))
    _finite_numbers(measured=measured, simulated=simulated)
    x, y = measured.double().flatten(1), simulated.double().flatten(1)
    mean_x, mean_y = x.mean(0), y.mean(0)
    u, s, vh = torch.linalg.svd(x - mean_x, full_matrices=False)
    projected = u.T @ (y - mean_y)
    power = s.square()
    best, least = torch.zeros_like(power), torch.inf
    for strength in STRENGTHS:
        share = power / (power + (strength * power.mean()).clamp_min(torch.finfo(power.dtype).tiny))
        leverage = (u.square() * share).sum(1) + 1 / len(x)
        left = (y - mean_y - u @ (share[:, None] * projected)) / (1 - leverage).clamp_min(1e-6)[:, None]
        error = float(left.square().sum())
        if error < least:
            best, least = share, error
    inverse = torch.where(s > 0, best / s.clamp_min(torch.finfo(s.dtype).tiny), 0.0)
    weight = (vh.T * inverse) @ projected
    return _dense(weight, mean_x, mean_y, measured, simulated)


def fit_wiener_map(clean: torch.Tensor, wanted: torch.Tensor, noise: torch.Tensor) -> nn.Sequential:
    r"""The best linear map from noisy features to wanted ones, from noiseless examples and the noise's size.

    .. math:: W = C_{wx} (C_{xx} + \Sigma)^{-1}

    with the covariances of the examples and independent noise of variance :math:`\sigma_k^2` in channel k
    (Wiener filter; Kay, Fundamentals of Statistical Signal Processing I, eq. 12.27). Nothing has to be
    drawn or chosen, unlike in a regression on noisy examples. Solved in float64.

    Args:
        clean: [m, k, y, x], many more examples than features, or the noise must be what limits.
        wanted: [m, c, v, u] for the same examples.
        noise: [k], standard deviation of each channel; 1e-3 of the features' own is the least.

    Returns:
        A module [n, k, y, x] -> [n, c, v, u] without gradients, as of `fit_full_map`.

    Raises:
        GridMismatch: different numbers of examples, or of channels in ``noise``.
        InvalidArgument: fewer than two examples, negative noise, or values that are not finite.

    Example:
        >>> clean = torch.randn(4000, 1, 2, 2)
        >>> found = fit_wiener_map(clean, 2 * clean, torch.ones(1))  # half of what is seen is noise
        >>> bool((found[1].weight - torch.eye(4)).abs().max() < 0.1)
        True
    """
    if len(clean) != len(wanted):
        raise GridMismatch("wanted", f"{len(clean)} examples", len(wanted))
    if len(clean) < 2 or clean.ndim != 4:
        raise InvalidArgument("clean", "two or more examples [m, k, y, x]", f"shape {tuple(clean.shape)}")
    if noise.shape != clean.shape[1:2]:
        raise GridMismatch("noise", f"a value for each of {clean.shape[1]} channels", tuple(noise.shape))
    _finite_numbers(clean=clean, wanted=wanted, noise=noise)
    if bool((noise < 0).any()):
        raise InvalidArgument("noise", "standard deviations", f"{float(noise.min())}")
    x, y = clean.double().flatten(1), wanted.double().flatten(1)
    mean_x, mean_y = x.mean(0), y.mean(0)
    covariance = (x - mean_x).T @ (x - mean_x) / len(x)
    least = (1e-6 * covariance.diagonal().mean()).clamp_min(torch.finfo(x.dtype).tiny)
    variance = noise.double().square()[:, None, None].expand(clean.shape[1:]).flatten().clamp_min(least)
    cross = (x - mean_x).T @ (y - mean_y) / len(x)
    return _dense(torch.linalg.solve(covariance + variance.diag(), cross), mean_x, mean_y, clean, wanted)


def _dense(
    weight: torch.Tensor, mean_x: torch.Tensor, mean_y: torch.Tensor, like: torch.Tensor, wanted: torch.Tensor
) -> nn.Sequential:
    """Flatten, linear, unflatten, frozen; weight [features, outputs]."""
    linear = skip_init(nn.Linear, len(mean_x), len(mean_y)).to(like).requires_grad_(False)
    linear.load_state_dict({"weight": weight.T, "bias": mean_y - mean_x @ weight})
    return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, tuple(wanted.shape[1:])))


def _moments(measured: torch.Tensor, simulated: torch.Tensor, neighbourhood: int) -> Moments:
    """Sums over all positions of some scenes, a few of these at a time: patches are many times the maps."""
    bytes_each = 8 * measured[0].numel() * neighbourhood**2
    parts = []
    for seen, wanted in zip(
        *(m.split(max(1, MEMORY // bytes_each)) for m in (measured, simulated)), strict=True
    ):
        patches = (
            F.unfold(seen.double(), neighbourhood, padding=neighbourhood // 2).transpose(1, 2).flatten(0, 1)
        )
        design = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
        parts.append(Moments.of(design, wanted.flatten(2).transpose(1, 2).flatten(0, 1)))
    return functools.reduce(operator.add, parts)


class InFront(nn.Sequential):
    """A map that stays in front of a backend: fine-tuning leaves it as it is.

    It may be a matrix of all features by all, which a few hundred frames cannot teach anything.

    Args:
        calibration: measured features to simulated ones.
        backend: what takes the simulated ones.

    Example:
        >>> found = InFront(nn.Conv2d(2, 2, 1), nn.Flatten())
        >>> found(torch.rand(3, 2, 4, 4)).shape
        torch.Size([3, 32])
    """

    def __init__(self, calibration: nn.Module, backend: nn.Module) -> None:
        super().__init__(calibration, backend)

    def trainable(self) -> InFront:
        """The same module, with a backend that can be trained and a map that cannot."""
        calibration, backend = self
        calibration.requires_grad_(False)
        if isinstance(backend, InFront):
            backend.trainable()
        else:
            backend.requires_grad_(True)
        return self


def merge_into_backend(calibration: nn.Module, backend: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """A backend with the calibration merged into its first dense layer: inference costs nothing more.

    Args:
        calibration: linear map of feature maps, from `fit_ridge_map`, `fit_local_map` or `fit_full_map`.
        backend: ``Sequential(Flatten, Linear, ...)``; any other backend gets the calibration in front.
        shape: [k, y, x] of the measured feature maps.

    Returns:
        A new module with the backend's other layers (shared, not copied).

    Raises:
        InvalidArgument: a shape that is not three numbers.

    Example:
        >>> conv = nn.Conv2d(2, 2, 3, padding=1)
        >>> backend = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 5, 3))
        >>> merged = merge_into_backend(conv, backend, (2, 5, 5))
        >>> x = torch.rand(4, 2, 5, 5)
        >>> torch.allclose(merged(x), backend(conv(x)), atol=1e-5), len(list(merged.parameters()))
        (True, 2)
    """
    size = checks.counts("shape", shape, number=3)
    layers = list(backend.children()) if isinstance(backend, nn.Sequential) else []
    if len(layers) < 2 or not isinstance(layers[0], nn.Flatten) or not isinstance(layers[1], nn.Linear):
        return InFront(calibration.train(backend.training), backend)
    first = layers[1]
    with torch.no_grad():
        basis = torch.eye(math.prod(size), dtype=first.weight.dtype, device=first.weight.device)
        offset = calibration(torch.zeros(1, *size, dtype=basis.dtype, device=basis.device)).flatten()
        columns = calibration(basis.reshape(-1, *size)).flatten(1) - offset  # row i: image of feature i
        merged = skip_init(nn.Linear, len(basis), first.out_features, device=basis.device, dtype=basis.dtype)
        merged.weight.copy_(first.weight @ columns.T)
        merged.bias.copy_(first.weight @ offset + (first.bias if first.bias is not None else 0))
    # the old one may ask for as many features as were simulated
    return nn.Sequential(nn.Flatten().train(layers[0].training), merged.train(first.training), *layers[2:])
