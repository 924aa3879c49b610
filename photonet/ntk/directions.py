"""Directions in output space: which combinations of the outputs a kernel looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import checks
from ..errors import InvalidArgument

__all__ = [
    "centred_directions",
    "class_directions",
    "output_directions",
    "pixel_directions",
    "random_directions",
]


def source(generator: object, purpose: str) -> torch.Generator:
    """``generator`` if it is one of torch's; ``purpose`` says what it is for."""
    if not isinstance(generator, torch.Generator):
        hint = "torch.Generator().manual_seed(0) is one"
        raise InvalidArgument("generator", f"a torch.Generator for {purpose}", repr(generator), hint)
    return generator


def random_directions(
    outputs: int, generator: torch.Generator, *, count: int = 1, like: Tensor | None = None
) -> Tensor:
    """Random signs: the kernel along them is an unbiased estimate of the trace kernel.

    With v of independent +-1, E[v v^T] = I, hence E[(J v)(J' v)^T] = sum over outputs. The rows are
    divided by sqrt(count), so that the sum over rows keeps that expectation.

    Args:
        outputs: how many outputs the model has.
        generator: source of randomness, on the CPU.
        count: how many directions.
        like: dtype and device of the result.

    Returns:
        [count, outputs].

    Example:
        >>> v = random_directions(10, torch.Generator().manual_seed(0), count=4)
        >>> v.abs().unique().tolist()
        [0.5]
    """
    shape = checks.count("count", count), outputs
    signs = torch.randint(0, 2, shape, generator=source(generator, "random directions"))
    dtype, device = (like.dtype, like.device) if like is not None else (torch.get_default_dtype(), None)
    return (2 * signs - 1).to(device=device, dtype=dtype) / count**0.5


def centred_directions(
    outputs: int | Sequence[int],
    *,
    generator: torch.Generator | None = None,
    count: int = 1,
    like: Tensor | None = None,
) -> Tensor:
    """Directions without what all classes share, which softmax does not see: in dense outputs, at each pixel.

    Args:
        outputs: number of classes, or the shape (C, ...) of one sample's output with the classes first.
        generator: None for all directions, I - 1/C at each pixel; else ``count`` random ones with that
            covariance.

    Returns:
        [outputs, outputs] or [count, outputs], outputs the product of the shape.

    Raises:
        InvalidArgument: fewer than two classes.

    Example:
        >>> centred_directions(4).sum(1).abs().max().item()
        0.0
        >>> centred_directions((2, 8, 8)).unflatten(1, (2, 64)).sum(1).abs().max().item()
        0.0
    """
    sizes = outputs if isinstance(outputs, Sequence) else (outputs,)
    shape = tuple(checks.count("outputs", size) for size in sizes)
    if not shape or shape[0] < 2:
        raise InvalidArgument("outputs", "at least 2 classes to centre", outputs)
    width = math.prod(shape)
    if generator is not None:
        v = random_directions(width, generator, count=count, like=like)
    else:
        dtype, device = (like.dtype, like.device) if like is not None else (torch.get_default_dtype(), None)
        v = torch.eye(width, dtype=dtype, device=device)
    classes = v.unflatten(1, (shape[0], -1))
    return (classes - classes.mean(1, keepdim=True)).flatten(1)


def class_directions(shape: Sequence[int], *, centred: bool = False, like: Tensor | None = None) -> Tensor:
    """The whole map of each class as one output: what a dense output says of a scene, not of a pixel.

    Args:
        shape: shape of one sample's output with the classes first, for instance (C, H, W).
        centred: an orthonormal basis of the differences of classes (Helmert's) in place of the classes, along
            which the kernel is that of all classes without what they share.
        like: dtype and device of the result.

    Returns:
        [C, C H W], or [C - 1, C H W] without what all classes share; rows of norm 1.

    Raises:
        InvalidArgument: fewer than two classes to centre.

    Example:
        >>> class_directions((2, 1, 4)).tolist()
        [[0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]]
        >>> class_directions((3, 8, 8), centred=True).shape
        torch.Size([2, 192])
    """
    classes, *pixels = (checks.count("shape", size) for size in shape or (1,))
    dtype, device = (like.dtype, like.device) if like is not None else (torch.get_default_dtype(), None)
    v = torch.eye(classes, dtype=dtype, device=device)
    if centred:
        if classes < 2:
            raise InvalidArgument("shape", "at least 2 classes to centre", tuple(shape))
        before = torch.arange(1, classes, device=device).unsqueeze(1)  # each against the mean of those
        v = (v.cumsum(1).mT[:-1] - before * v[1:]) / (before * (before + 1)).to(v).sqrt()
    places = math.prod(pixels)
    return (v / places**0.5).repeat_interleave(places, dim=1)


def pixel_directions(
    shape: tuple[int, ...], generator: torch.Generator, *, count: int, like: Tensor | None = None
) -> Tensor:
    """One output each at random places of a dense output, scaled to estimate the trace kernel.

    Args:
        shape: shape of one sample's output, for instance (C, H, W).
        generator: source of randomness, on the CPU.
        count: how many places, drawn without repetition.

    Returns:
        [count, C H W], each row one entry sqrt(C H W / count).

    Example:
        >>> v = pixel_directions((2, 4, 4), torch.Generator().manual_seed(0), count=8)
        >>> v.shape, v.square().sum().item()
        (torch.Size([8, 32]), 32.0)
    """
    outputs = torch.Size(shape).numel()
    if checks.count("count", count) > outputs:
        raise InvalidArgument("count", f"at most the {outputs} outputs", count)
    chosen = torch.randperm(outputs, generator=source(generator, "random places"))[:count]
    dtype, device = (like.dtype, like.device) if like is not None else (torch.get_default_dtype(), None)
    v = torch.zeros(count, outputs, dtype=dtype, device=device)
    v[torch.arange(count), chosen] = (outputs / count) ** 0.5
    return v


def output_directions(
    outputs: str | Tensor, like: Tensor, generator: torch.Generator | None = None, count: int = 1
) -> Tensor:
    """The rows [m, C] that an ``outputs=`` argument means, for a model output ``like`` [n, ...].

    Raises:
        InvalidArgument: an unknown name, a tensor of another width, or random directions without generator.
    """
    width = like[0].numel()
    if isinstance(outputs, Tensor):
        if not outputs.ndim or outputs.is_complex():
            got = f"shape {tuple(outputs.shape)} of {outputs.dtype}"
            raise InvalidArgument("outputs", f"real directions [m, {width}]", got)
        v = outputs.to(like)
        v = v.flatten(1) if v.ndim > 1 else v.unsqueeze(0)
        if v.shape[1] != width or len(v) == 0:
            raise InvalidArgument("outputs", f"directions [m, {width}]", f"shape {tuple(outputs.shape)}")
        return v
    if checks.choice("outputs", outputs, ("trace", "sum", "random", "full")) == "random":
        draws, count = source(generator, "outputs='random'"), checks.count("directions", count)
        return random_directions(width, draws, count=count, like=like)
    if outputs == "sum":
        return like.new_ones(1, width)
    return torch.eye(width, dtype=like.dtype, device=like.device)
