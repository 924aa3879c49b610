"""Mirrors and quarter turns: how a lens, a mirror or a camera lying on its side shows a picture."""

from __future__ import annotations

import torch

from .. import checks

__all__ = ["ORIENTATIONS", "orient", "orient_back", "orient_kernels"]

ORIENTATIONS: dict[str, tuple[bool, bool, bool]] = {
    "upright": (False, False, False),
    "mirrored": (False, False, True),
    "upside down": (False, True, False),
    "turned by 180 degrees": (False, True, True),
    "transposed": (True, False, False),
    "turned by 90 degrees": (True, False, True),
    "turned by -90 degrees": (True, True, False),
    "transposed and turned by 180 degrees": (True, True, True),
}
"""Name -> whether a picture's axes are exchanged, then whether its y and its x are reversed."""


def orient(maps: torch.Tensor, orientation: str) -> torch.Tensor:
    """Maps [..., y, x] in one of `ORIENTATIONS`; a turn is positive from +x to +y.

    Example:
        >>> orient(torch.tensor([[1, 2], [3, 4]]), "turned by 90 degrees").tolist()
        [[3, 1], [4, 2]]
    """
    exchanged, *_ = checks.lookup("orientation", orientation, ORIENTATIONS)
    return (maps.mT if exchanged else maps).flip(_reversed(orientation))


def orient_back(maps: torch.Tensor, orientation: str) -> torch.Tensor:
    """The inverse of `orient`.

    Example:
        >>> maps = torch.rand(2, 3)
        >>> all(torch.equal(orient_back(orient(maps, name), name), maps) for name in ORIENTATIONS)
        True
    """
    exchanged, *_ = checks.lookup("orientation", orientation, ORIENTATIONS)
    maps = maps.flip(_reversed(orientation))
    return maps.mT if exchanged else maps


def orient_kernels(kernels: torch.Tensor, orientation: str) -> torch.Tensor:
    """Kernels [..., v, u], dark in their first row and column, about their axis at sample n // 2.

    Oriented scenes under these give the oriented images of the scenes under the kernels.

    Example:
        >>> orient_kernels(torch.tensor([[0, 0, 1, 2]]), "mirrored").tolist()
        [[0, 2, 1, 0]]
    """
    turned = orient(kernels, orientation)
    even = [axis for axis in _reversed(orientation) if turned.shape[axis] % 2 == 0]
    return turned.roll([1] * len(even), even) if even else turned  # the middle of an even axis is no sample


def _reversed(orientation: str) -> list[int]:
    _, *both = ORIENTATIONS[orientation]
    return [axis for axis, reverse in zip((-2, -1), both, strict=True) if reverse]
