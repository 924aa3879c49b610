"""Tolerance studies: how often a design still works when it is made with errors, and which error limits it.

Generic: a system is any function that makes devices from draws and seeds, a metric any function of a device.

| file | what it does |
| --- | --- |
| distributions | the laws of the errors |
| samplers | points in the unit cube |
| study, batch, checkpoint | runs the devices, in batches and anywhere, and survives an interruption |
| yields | share of devices that work, with its interval |
| sensitivity | which error limits the metric |
"""

from __future__ import annotations

from .batch import WorkerLost
from .distributions import (
    Bernoulli,
    Choice,
    Distribution,
    Fixed,
    LogNormal,
    Normal,
    TruncatedNormal,
    Uniform,
)
from .samplers import SAMPLERS, Sampler, unit_cube
from .sensitivity import sensitivity
from .study import DeviceFailed, tolerance
from .yields import AtLeast, AtMost, with_yield, yield_curve, yield_interval

__all__ = [
    "SAMPLERS",
    "AtLeast",
    "AtMost",
    "Bernoulli",
    "Choice",
    "DeviceFailed",
    "Distribution",
    "Fixed",
    "LogNormal",
    "Normal",
    "Sampler",
    "TruncatedNormal",
    "Uniform",
    "WorkerLost",
    "sensitivity",
    "tolerance",
    "unit_cube",
    "with_yield",
    "yield_curve",
    "yield_interval",
]
