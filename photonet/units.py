"""SI multiples and the constants of nature: ``525 * nm`` reads better than ``5.25e-7``.

Everything in photonet is in SI (m, rad, s, W); see docs/conventions.

Example:
    >>> from photonet.units import nm, um
    >>> f"{525 * nm / (2 * um):.4f}"
    '0.2625'
"""

from __future__ import annotations

__all__ = ["LIGHT_SPEED", "PLANCK", "cm", "deg", "mm", "mrad", "ms", "nm", "um", "us"]

cm = 1e-2
mm = 1e-3
um = 1e-6
nm = 1e-9
ms = 1e-3
us = 1e-6
mrad = 1e-3
deg = 0.017453292519943295

PLANCK = 6.62607015e-34
"""Planck constant in J s (exact, SI 2019)."""

LIGHT_SPEED = 299792458.0
"""Speed of light in vacuum in m/s (exact)."""
