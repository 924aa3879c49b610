"""Measured devices: what the camera saw, and the device it was seen with."""
