"""What a mask is made from, checked: arrays become tensors, names become materials."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..arrays import as_tensor, complex_dtype
from ..errors import InvalidArgument
from ..fabrication import Geometry
from ..materials import Material, MetaAtomLibrary, load

__all__ = ["heights", "lattice", "material_of", "pattern", "periods", "transmissions", "widths"]

TALLEST = 1e-2
"""In m: thin elements are far lower, so a greater height is one in another unit."""

SLACK = 4 * torch.finfo(torch.float32).eps
"""Design values may be single precision: 237e-9 is then 1.4e-8 larger, relatively."""


def pattern(name: str, value: Any, *, complex_too: bool = False) -> torch.Tensor:
    """The user's array as a tensor [..., y, x].

    Raises:
        InvalidArgument: not numbers, not finite, no sample, or complex where that is not allowed.
    """
    tensor = as_tensor(name, value, least_dims=2)
    if tensor.is_complex() and not complex_too:
        raise InvalidArgument(name, "real values", "complex values", "see Mask.from_transmission")
    if tensor.numel() == 0:
        raise InvalidArgument(name, "at least one sample", f"shape {tuple(tensor.shape)}")
    return tensor


def heights(h: Any) -> torch.Tensor:
    """Heights above the substrate in m.

    Raises:
        InvalidArgument: as `pattern`, negative heights, or such as only another unit explains.
    """
    tensor = pattern("h", h)
    lowest, highest = (float(v) for v in tensor.detach().aminmax())
    if lowest < 0:
        expected = "heights of at least 0 m above the substrate"
        raise InvalidArgument("h", expected, f"{lowest:g} m", "lift the relief by a constant")
    if highest > TALLEST:
        unit, factor = ("um", "1e-6") if highest < 10 else ("nm", "1e-9")
        hint = f"if they are in {unit}, pass {factor} * h"
        raise InvalidArgument("h", f"heights in m, up to {TALLEST:g} m", f"{highest:g} m", hint)
    return tensor


def transmissions(t: Any) -> torch.Tensor:
    """Complex transmissions.

    Raises:
        InvalidArgument: as `pattern`, or a gain.
    """
    tensor = pattern("t", t, complex_too=True)
    tensor = tensor.to(complex_dtype(tensor.dtype))
    # a magnitude of 1 computed in the tensor's own precision may exceed it by a few roundings
    largest = float(tensor.detach().abs().max())
    if largest > 1 + 16 * torch.finfo(tensor.real.dtype).eps:
        expected = "magnitudes of at most 1 (a mask has no gain)"
        raise InvalidArgument("t", expected, largest, "divide by the largest magnitude")
    return tensor


def widths(width: Any, library: MetaAtomLibrary) -> torch.Tensor:
    """Pillar widths in m.

    Raises:
        InvalidArgument: as `pattern`, or widths that the library does not have.
    """
    tensor = pattern("width", width)
    low, high = library.width
    outside = (tensor != 0) & ((tensor < low * (1 - SLACK)) | (tensor > high * (1 + SLACK)))
    if bool(outside.any()):
        worst = float(tensor.detach()[outside][0])
        raise InvalidArgument(
            "width",
            f"0 (no pillar) or {low:g} to {high:g} m, as {library.name} has",
            f"{int(outside.sum())} others, the first {worst:g} m",
        )
    return tensor


def lattice(shape: torch.Size, pitch: Any, **lengths: Any) -> Geometry:
    """The geometry of samples at a pitch in m.

    Raises:
        InvalidArgument: a pitch that is not positive.
    """
    dy, dx = (checks.positive("pitch", d, "a positive length in m") for d in checks.pair("pitch", pitch))
    return Geometry(shape=tuple(shape), pitch=(dy, dx), **lengths)


def periods(pitch: tuple[float, float], library: MetaAtomLibrary) -> int:
    """How many pillars of the library stand in a sample of that pitch in m.

    Raises:
        InvalidArgument: a pitch that is no multiple of the library's period.
    """
    elements = 1
    for d in pitch:
        ratio = d / library.period
        if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6 * ratio:
            expected = f"a whole multiple of the library's period {library.period:g} m"
            raise InvalidArgument("pitch", expected, f"{d:g} m")
        elements *= round(ratio)
    return elements


def material_of(name: str, value: Any) -> Material:
    """A material, from itself or from its name; ``name`` is that of the argument.

    Raises:
        InvalidArgument: neither of them.
        UnknownName: no material of that name.
    """
    if isinstance(value, Material):
        return value
    if not isinstance(value, str):
        hint = "photonet.materials.constant(n) makes one"
        raise InvalidArgument(name, "the name of a material or a Material", repr(value)[:60], hint)
    return load(value, name)
