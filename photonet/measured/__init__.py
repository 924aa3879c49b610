"""Measured devices: what the camera saw and the device it was seen with; their files and their check."""

from __future__ import annotations

from .check import check
from .device import ERRORS, Device, make_devices
from .faults import Finding
from .features import Measured
from .importer import import_folder
from .reader import Frames, MeasuredData
from .writer import Part, write

__all__ = [
    "ERRORS",
    "Device",
    "Finding",
    "Frames",
    "Measured",
    "MeasuredData",
    "Part",
    "check",
    "import_folder",
    "make_devices",
    "write",
]
