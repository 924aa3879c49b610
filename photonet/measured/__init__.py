"""Measured devices: the device and its camera, the file format, its check, and import from pictures."""

from __future__ import annotations

from .bench import run_bench
from .captures import cut_windows, signed_maps
from .check import check
from .device import ERRORS, Device, make_devices
from .drift import DriftMonitor, Look
from .faults import Finding
from .features import Measured
from .importer import import_folder
from .reader import Frames, MeasuredData
from .register import Registration, register
from .writer import Part, write

__all__ = [
    "ERRORS",
    "Device",
    "DriftMonitor",
    "Finding",
    "Frames",
    "Look",
    "Measured",
    "MeasuredData",
    "Part",
    "Registration",
    "check",
    "cut_windows",
    "import_folder",
    "make_devices",
    "register",
    "run_bench",
    "signed_maps",
    "write",
]
