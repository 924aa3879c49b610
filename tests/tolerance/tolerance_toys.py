"""Systems and metrics that other processes can import."""

import math
import os

import torch


def line(draws, seeds):
    """A device is (x, y, a random number from its seed); elementwise, so the batch does not matter."""
    noise = [torch.rand((), generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds]
    return list(zip(draws["x"], draws["y"], noise, strict=True))


def measure(device):
    x, y, noise = device
    return {"good": float(x), "bad": abs(float(y)), "noise": noise}


def poisoned(draws, seeds):
    """Raises for the whole batch as soon as one device has x > 0.9."""
    if (draws["x"] > 0.9).any():
        raise RuntimeError("x is too large")
    return line(draws, seeds)


def nan_metric(device):
    return {"good": math.nan if device[0] > 0.9 else 1.0}


def deadly(draws, seeds):
    """Takes its process along, as a crash of a library or a lack of memory does."""
    if (draws["x"] > 0.9).any():
        os._exit(3)
    return line(draws, seeds)
