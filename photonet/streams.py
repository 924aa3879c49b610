"""Where random numbers come from: one named stream per cause.

What differs between devices, what is fixed in a camera and what differs between exposures must not share
numbers, also when the user gives all the same seed; the stream's name is therefore part of the seed. The
mix is SHA-256, so it is the same on every machine and in every version of torch or NumPy.
"""

from __future__ import annotations

import hashlib

import torch

from . import checks
from .errors import InvalidArgument

__all__ = ["Seed", "stream"]

Seed = int | torch.Generator
"""A whole number (a fresh stream from it), or a generator that is advanced."""


def stream(seed: Seed | None, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one cause of randomness.

    Args:
        seed: a whole number of at least 0; or a `torch.Generator`, which is returned as it is. (None is
            what the callers default to, and is refused here for all of them.)
        name: the cause, such as ``"exposure"``; equal seeds with other names are independent.
        device: where the numbers are drawn (a GPU's numbers are not the CPU's).

    Raises:
        InvalidArgument: no seed, a negative one, or a generator of another device.

    Example:
        >>> a, b = (torch.rand(1, generator=stream(0, name)) for name in ("fixed", "exposure"))
        >>> bool(a != b)
        True
    """
    device = torch.device(device)
    if isinstance(seed, torch.Generator):
        if seed.device.type != device.type:
            raise InvalidArgument("seed", f"a generator on {device}", f"one on {seed.device}")
        return seed
    if seed is None:
        raise InvalidArgument(
            "seed", "a whole number or a torch.Generator, to draw random numbers with", None
        )
    digest = hashlib.sha256(f"photonet:{name}:{checks.count('seed', seed, least=0)}".encode()).digest()
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return generator
