"""Cameras by EMVA 1288: from irradiance on pixels to grey values, and back to what the camera is."""

from __future__ import annotations

from . import bench, emva
from .adc import digitize
from .camera import Detector
from .model import photons, shot_noise
from .pattern import FixedPattern
from .pixels import pixel_irradiance
from .readout import detect

__all__ = [
    "Detector",
    "FixedPattern",
    "bench",
    "detect",
    "digitize",
    "emva",
    "photons",
    "pixel_irradiance",
    "shot_noise",
]
