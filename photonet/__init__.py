"""Hybrid optical neural networks: rigorous optics, neural tangent distillation, measured-data correction."""

from __future__ import annotations

from . import data, design, detector, errors, fabrication, materials, measured, models, nn, ntk, optics, units
from .detector import Detector
from .display import Display
from .distill import correct, distill
from .field import Field
from .grid import Grid
from .mask import Mask
from .simulate import plan, simulate
from .tolerance import tolerance

__version__ = "0.1.0"

__all__ = [
    "Detector",
    "Display",
    "Field",
    "Grid",
    "Mask",
    "__version__",
    "correct",
    "data",
    "design",
    "detector",
    "distill",
    "errors",
    "fabrication",
    "materials",
    "measured",
    "models",
    "nn",
    "ntk",
    "optics",
    "plan",
    "simulate",
    "tolerance",
    "units",
]
