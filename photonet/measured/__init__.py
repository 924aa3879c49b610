"""Measured devices: what the camera saw, and the device it was seen with."""

from .device import ERRORS, Device, make_devices
from .features import Measured

__all__ = ["ERRORS", "Device", "Measured", "make_devices"]
