"""Empirical neural tangent kernels of any torch module; nothing here knows of optics."""

from __future__ import annotations

from .alignment import alignment, center
from .directions import centred_directions, pixel_directions, random_directions
from .empirical import forward_gram, gram
from .factors import Outer
from .layers import conv_factor
from .parameters import frozen_statistics, select
from .tangents import Tangents, tangents

__all__ = [
    "Outer",
    "Tangents",
    "alignment",
    "center",
    "centred_directions",
    "conv_factor",
    "forward_gram",
    "frozen_statistics",
    "gram",
    "pixel_directions",
    "random_directions",
    "select",
    "tangents",
]
