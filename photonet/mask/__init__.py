"""Masks: what light passes, as a design and as it was made.

- ``base``: `Mask`, with the constructors ``from_phase``, ``from_height``, ``from_transmission`` and
  ``from_meta_atoms``, and what every kind can do;
- ``kinds``: `PhaseMask`, `HeightMask`, `TransmissionMask`, `MetaAtomMask`;
- ``store``: the file format.
"""

from __future__ import annotations

from .base import Mask
from .kinds import HeightMask, MetaAtomMask, PhaseMask, TransmissionMask

__all__ = ["HeightMask", "Mask", "MetaAtomMask", "PhaseMask", "TransmissionMask"]
