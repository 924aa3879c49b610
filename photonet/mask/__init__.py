"""Masks: what light passes, as a design and as it was made.

- ``kinds``: `Mask`, with the constructors ``from_phase``, ``from_height``, ``from_transmission`` and
  ``from_meta_atoms``, and its kinds;
- ``inputs``: what the constructors take, checked;
- ``response``: the physics, as functions of geometry and wavelength;
- ``store``: the file format.
"""

from __future__ import annotations

from .kinds import HeightMask, Mask, MetaAtomMask, PhaseMask, TransmissionMask

__all__ = ["HeightMask", "Mask", "MetaAtomMask", "PhaseMask", "TransmissionMask"]
