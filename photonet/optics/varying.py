"""Imaging with a PSF that changes across the field."""

from __future__ import annotations

import torch

from .. import checks
from ..errors import InvalidArgument
from ..precision import full_precision
from .psf import convolve

__all__ = ["convolve_low_rank", "convolve_patches", "hats", "low_rank"]


def convolve_patches(scene: torch.Tensor, psfs: torch.Tensor) -> torch.Tensor:
    """Image a scene whose PSF is known at a lattice of field points, blended linearly in between.

    Every source point is shared between its four nearest lattice points, each share is convolved with that
    point's PSF, and the images add: power is kept, and equal PSFs give `convolve`. The lattice spans
    the scene: the first and last points lie on its first and last samples.

    Args:
        scene: real [..., y, x].
        psfs: real [P_y, P_x, ..., v, u], each with its axis at sample (N//2, N//2); the axes between
            broadcast with the leading ones of the scene.

    Returns:
        Real [..., y, x].

    Raises:
        InvalidArgument: PSFs without their four axes, or none; tensors that are not real and of single or
            double precision.

    Example:
        >>> scene = torch.rand(6, 7, dtype=torch.float64)
        >>> same = torch.rand(3, 3, dtype=torch.float64)
        >>> torch.allclose(convolve_patches(scene, same.expand(2, 3, 3, 3)), convolve(scene, same))
        True
    """
    for name, value in (("scene", scene), ("psfs", psfs)):
        checks.pictures(name, value)
    if psfs.ndim < 4 or 0 in psfs.shape:
        raise InvalidArgument(
            "psfs", "axes (P_y, P_x, ..., v, u), none of them empty", f"shape {tuple(psfs.shape)}"
        )
    rows = hats(scene.shape[-2], psfs.shape[0], scene)
    columns = hats(scene.shape[-1], psfs.shape[1], scene)
    image = scene.new_zeros(())
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            image = image + convolve(scene * row[:, None] * column, psfs[i, j])
    return image


def low_rank(psfs: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best few PSFs whose mixtures give all of a field's PSFs, by singular values.

    Args:
        psfs: real [P_y, P_x, v, u].
        rank: how many to keep.

    Returns:
        Modes [rank, v, u] and their weights over the field [rank, P_y, P_x].

    Raises:
        InvalidArgument: PSFs of other axes or that are not finite, a rank that they do not have.

    Example:
        >>> psfs = torch.rand(2, 2, 3, 3, dtype=torch.float64)
        >>> modes, weights = low_rank(psfs, 4)
        >>> torch.allclose(torch.einsum("rvu,rij->ijvu", modes, weights), psfs)
        True
    """
    if checks.finite("psfs", psfs).ndim != 4 or psfs.is_complex():
        got = f"shape {tuple(psfs.shape)} of {psfs.dtype}"
        raise InvalidArgument("psfs", "real numbers with the axes (P_y, P_x, v, u)", got)
    count = min(psfs.shape[0] * psfs.shape[1], psfs.shape[2] * psfs.shape[3])
    if checks.count("rank", rank) > count:
        raise InvalidArgument("rank", f"a number from 1 to {count}", rank)
    left, values, right = torch.linalg.svd(psfs.flatten(0, 1).flatten(1), full_matrices=False)
    weights = (left[:, :rank] * values[:rank]).mT
    return right[:rank].unflatten(1, psfs.shape[2:]), weights.unflatten(1, psfs.shape[:2])


def convolve_low_rank(scene: torch.Tensor, modes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Image a scene by `low_rank` modes: one convolution per mode, whatever the number of field points.

    Args:
        scene: real [..., y, x].
        modes: real [rank, v, u].
        weights: real [rank, P_y, P_x] over a lattice that spans the scene, linear in between.

    Returns:
        Real [..., y, x].

    Raises:
        InvalidArgument: modes and weights that do not belong together, or anything that is not real and of
            single or double precision.

    Example:
        >>> scene, psfs = torch.rand(6, 7, dtype=torch.float64), torch.rand(2, 3, 3, 3, dtype=torch.float64)
        >>> torch.allclose(convolve_low_rank(scene, *low_rank(psfs, 6)), convolve_patches(scene, psfs))
        True
    """
    for name, value in (("scene", scene), ("modes", modes), ("weights", weights)):
        checks.pictures(name, value)
    if modes.ndim != 3 or weights.ndim != 3 or len(modes) != len(weights) or 0 in weights.shape:
        raise InvalidArgument(
            "modes and weights",
            "axes (rank, v, u) and (rank, P_y, P_x) of the same rank",
            f"shapes {tuple(modes.shape)} and {tuple(weights.shape)}",
        )
    rows = hats(scene.shape[-2], weights.shape[1], scene)
    columns = hats(scene.shape[-1], weights.shape[2], scene)
    with full_precision(scene):
        maps = torch.einsum("rij,iy,jx->ryx", weights, rows, columns)
    image = torch.zeros_like(scene)
    for mode, share in zip(modes, maps, strict=True):
        image = image + convolve(scene * share, mode)
    return image


def hats(samples: int, points: int, like: torch.Tensor, ends: tuple[int, int] | None = None) -> torch.Tensor:
    """Linear shares of every sample in the lattice points along one axis; they add up to one.

    Args:
        samples: along the axis.
        points: of the lattice, from the first of its ends to the last; samples beyond belong to the nearest.
        like: for precision and device.
        ends: numbers of the samples on which the first and the last point lie; by default those at the ends.

    Returns:
        [points, samples].

    Example:
        >>> hats(5, 2, torch.zeros(()), (1, 3)).tolist()
        [[1.0, 1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 1.0, 1.0]]
    """
    first, last = (0, samples - 1) if ends is None else ends
    index = torch.arange(samples, dtype=like.dtype, device=like.device)
    place = ((index - first) / max(last - first, 1) * (points - 1)).clamp(0, points - 1)
    point = torch.arange(points, dtype=like.dtype, device=like.device)
    return (1 - (place - point[:, None]).abs()).clamp_min(0)
