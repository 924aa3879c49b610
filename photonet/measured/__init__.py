"""Measured devices: the file format, its check, and import from folders of pictures."""

from __future__ import annotations

from .check import check
from .faults import Finding
from .importer import import_folder
from .reader import Frames, MeasuredData
from .writer import Part, write

__all__ = ["Finding", "Frames", "MeasuredData", "Part", "check", "import_folder", "write"]
