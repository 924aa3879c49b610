"""Hybrid optical neural networks: rigorous optics, neural tangent distillation, measured-data correction."""

from __future__ import annotations

from . import errors, units
from .grid import Grid

__version__ = "0.1.0"

__all__ = ["Grid", "__version__", "errors", "units"]
