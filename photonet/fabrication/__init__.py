"""Fabrication: how what is made differs from what was drawn.

- ``geometry``: `Geometry`, the lengths on which every error acts;
- ``draws``: seeds, devices, and the protocol `FabricationError`;
- ``dimensions``: `HeightError`, `WidthError`, `RefractiveIndexError`, `SurfaceRoughness`;
- ``pillars``: `SidewallAngle`, `EdgeRoughness`, `MissingPillars`;
- ``overlay``: `MaskOverlay`, of the binary masks of a multi-level relief;
- ``position``: `LateralError`, of the pattern and of each element;
- ``fringing``: `FringingField`, crosstalk of the pixels of a phase modulator;
- ``processes``: `process`, lists of errors from ``materials/processes``;
- ``quantize``: levels of phase, height or width.

Each error is asked twice: ``sample`` draws a device, ``apply`` changes a geometry by that draw.
"""

from __future__ import annotations

from .dimensions import HeightError, RefractiveIndexError, SurfaceRoughness, WidthError
from .draws import Draw, FabricationError, apply, correlated_normal, draw, fabricate
from .fringing import FringingField, fringed_phases
from .geometry import Geometry
from .overlay import MaskOverlay, overlay_cells
from .pillars import EdgeRoughness, MissingPillars, SidewallAngle
from .position import LateralError, displace
from .processes import process
from .quantize import quantize, quantize_phase

__all__ = [
    "Draw",
    "EdgeRoughness",
    "FabricationError",
    "FringingField",
    "Geometry",
    "HeightError",
    "LateralError",
    "MaskOverlay",
    "MissingPillars",
    "RefractiveIndexError",
    "SidewallAngle",
    "SurfaceRoughness",
    "WidthError",
    "apply",
    "correlated_normal",
    "displace",
    "draw",
    "fabricate",
    "fringed_phases",
    "overlay_cells",
    "process",
    "quantize",
    "quantize_phase",
]
