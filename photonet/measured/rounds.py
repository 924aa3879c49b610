"""Rounds of the probe scenes as one tensor, whether they came as measured maps or as frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..arrays import as_tensor
from ..errors import GridMismatch, InvalidArgument
from ..provenance import tensor_hash
from .features import Measured

__all__ = ["stack_rounds"]


def stack_rounds(name: str, frames: Any, least: int) -> tuple[torch.Tensor, str]:
    """Rounds as float64 [rounds, n, k, y, x], and the hash of their scenes.

    Args:
        name: of the argument, for the error.
        frames: `Measured` objects, or frames [rounds, n, (k,) y, x].
        least: how many rounds there must be.

    Returns:
        The rounds, and the hash, which is "" if they came without scenes.

    Raises:
        InvalidArgument: something else, too few rounds, or values that are not finite.
        GridMismatch: rounds of other scenes or of another size.

    Example:
        >>> stack_rounds("frames", torch.rand(2, 3, 8, 8), 2)[0].shape
        torch.Size([2, 3, 1, 8, 8])
    """
    scenes = ""
    if not hasattr(frames, "shape"):
        rounds = list(frames) if isinstance(frames, Iterable) else [frames]
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
    frames = as_tensor(name, frames)
    if frames.ndim == 4:
        frames = frames[:, :, None]
    if frames.ndim != 5 or frames.is_complex() or not frames.numel():
        raise InvalidArgument(
            name, "real frames [rounds, scenes, (channels,) y, x]", f"shape {tuple(frames.shape)}"
        )
    if len(frames) < least:
        raise InvalidArgument(name, f"at least {least} rounds of the probe scenes", len(frames))
    return frames.detach().double(), scenes


def _describe(rounds: Sequence[object]) -> str:
    return ", ".join(sorted({type(one).__name__ for one in rounds})) or "nothing"
