"""Eq. 11 of arXiv 2508.08421: how much errors of the kernels change the tangent kernel, against their number.

The paper concludes from its bound that the change vanishes as the number m of kernels grows. Measured here:
the relative change of the Gram of a student at its first weights when each kernel gets an error of a tenth of
its own norm. Errors are independent from kernel to kernel, or the same in all of them, or a common gain.
The change of one device is told apart from its mean over devices, which no averaging over kernels removes.
"""

from __future__ import annotations

import itertools
import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photonet import data, ntk
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork, OpticalConv2d

from .arms import new
from .cells import Cells

KERNELS = (4, 8, 16, 32, 64, 128, 256)
ERROR = 0.1
DEVICES = 6
SAMPLES = 32
ERRORS = ("independent", "common", "gain")


def linear(kernels: int) -> HybridNetwork:
    """One convolution and one dense layer: everything is linear."""
    dense = nn.Sequential(nn.Flatten(), nn.Linear(49 * kernels, 10))
    return HybridNetwork(OpticalConv2d(1, kernels, 7, binning=4), dense)


def relu(kernels: int) -> HybridNetwork:
    """The network of the theory: one convolution, a nonlinearity, one dense layer."""
    dense = nn.Sequential(nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49 * kernels, 10))
    return HybridNetwork(OpticalConv2d(1, kernels, 7), dense)


STUDENTS = {"linear": linear, "relu": relu, "hidden": compressed_meta}
"""``hidden`` is the published student: a linear convolution, and a hidden layer of fixed width."""


def changes(images: torch.Tensor, kernels: int, error: str, student: str, seed: int) -> dict[str, Any]:
    """Relative changes of the Gram, in the Frobenius norm.

    Args:
        images: [n, 1, 28, 28].
        kernels: number of kernels.
        error: ``independent``, ``common`` or ``gain`` (every kernel weaker by the same part).
        student: key of `STUDENTS`.
        seed: of weights and errors.
    """
    model = new(lambda: STUDENTS[student](kernels), seed)
    optics = model.optics
    nominal = optics.weight.detach().clone()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        first = ntk.gram(model, images)
        differences = []
        for _ in range(DEVICES):
            if error == "gain":
                delta = ERROR * torch.randn((), generator=generator) * nominal
            else:
                shape = nominal.shape if error == "independent" else (1, *nominal.shape[1:])
                draw = torch.randn(shape, generator=generator).expand_as(nominal)
                norm = nominal.flatten(1).norm(dim=1) / draw.flatten(1).norm(dim=1)
                delta = ERROR * norm[:, None, None, None] * draw
            optics.set_kernels(nominal + delta)
            differences.append(ntk.gram(model, images) - first)
    stacked = torch.stack(differences) / first.norm()
    return {
        "change": float(stacked.flatten(1).norm(dim=1).mean()),
        "mean": float(stacked.mean(0).norm()),
    }


def slope(values: list[float]) -> float:
    """Exponent p of values ~ m^p, by least squares in logarithms over `KERNELS`."""
    return statistics.linear_regression([math.log(m) for m in KERNELS], [math.log(v) for v in values]).slope


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Measure what is missing."""
    cells = Cells(out / "eq11.json")
    images = data.mnist(folder).train.images[:SAMPLES]
    for student, error, kernels, seed in itertools.product(STUDENTS, ERRORS, KERNELS, range(seeds)):
        settings = {
            "student": student, "error": error, "kernels": kernels, "seed": seed,
            "size": ERROR, "devices": DEVICES, "samples": SAMPLES,
        }  # fmt: skip
        measure = partial(changes, images, kernels, error, student, seed)
        cells.get(f"{student}/{error}/{kernels}/{seed}", settings, measure)
