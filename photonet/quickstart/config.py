"""What the quickstart runs: every number of it, written beside its results."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from .. import checks
from ..distill.frames import FEWEST
from ..errors import InvalidArgument

__all__ = ["KERNEL_SIZE", "LEARNING_RATES", "QuickstartConfig"]

LEARNING_RATES = (3e-3, 1e-2, 2e-2)
"""Each method takes the best of these on validation data: at one rate for all, the table would lie."""

KERNEL_SIZE = 7
"""Pixels of the kernels along each axis, as in Table 2 of arXiv 2508.08421."""


@dataclass(frozen=True)
class QuickstartConfig:
    """Settings of `photonet quickstart`.

    Args:
        data: ``digits`` (bundled with scikit-learn) or ``mnist`` (from a folder).
        train: most training pictures to use.
        seeds: number of repetitions.
        seed: of the first one.
        epochs: of the students.
        batch_size: of the students.
        teacher_epochs: of the teacher.
        teacher_views: moved copies of every picture that the teacher learns from.
        kernels: signed kernels of the student.
        fraction: part of the measured data that correction may use, of ``train`` pictures at least 6.
        devices: of the tolerance study.
        study_scenes: test scenes that each device of the study is judged by.
        wavelength: of the light in m.
        distance: from mask to sensor in m.
        pitch: of the mask samples in m.
        pixel: mask samples per sensor pixel.
        samples: of a mask along each axis.
        height: standard deviation of a device's relative height error.
        roughness: the same of every mask sample by itself.
        shift: largest displacement of the images on the sensor, in sensor pixels (a feature is 4 of them
            wide, so the default stays well below one feature).
        gain: standard deviation of the captures' relative brightness.
        crosstalk: largest fraction of a capture's light that lands on its neighbours.
        light: electrons in a pixel that a white scene gives with all the light of a capture.

    Raises:
        InvalidArgument: a value outside its range.
        UnknownName: an unknown data set.

    Example:
        >>> QuickstartConfig(seeds=1).kernels
        8
    """

    data: str = "digits"
    train: int = 10_000
    seeds: int = 3
    seed: int = 0
    epochs: int = 20
    batch_size: int = 64
    teacher_epochs: int = 8
    teacher_views: int = 7
    kernels: int = 8
    fraction: float = 0.10
    devices: int = 24
    study_scenes: int = 300
    wavelength: float = 525e-9
    distance: float = 0.8e-3
    pitch: float = 1e-6
    pixel: int = 8
    samples: int = 120
    height: float = 0.05
    roughness: float = 0.02
    shift: float = 1.5
    gain: float = 0.2
    crosstalk: float = 0.4
    light: float = 20_000.0

    def __post_init__(self) -> None:
        checks.choice("data", self.data, ("digits", "mnist"))
        for name in (
            "train", "seeds", "epochs", "batch_size", "teacher_epochs", "kernels", "devices", "study_scenes",
            "pixel", "samples",
        ):  # fmt: skip
            checks.count(name, getattr(self, name))
        if self.samples // self.pixel < KERNEL_SIZE:
            raise InvalidArgument(
                "samples",
                f"at least {KERNEL_SIZE * self.pixel}, a window of {KERNEL_SIZE} pixels",
                self.samples,
            )
        checks.count("seed", self.seed, least=0)
        checks.count("teacher_views", self.teacher_views, least=0)
        if checks.fraction("fraction", self.fraction) == 0:
            raise InvalidArgument(
                "fraction", "more than 0, as correction needs measured frames", self.fraction
            )
        if round(self.fraction * self.train) < FEWEST:  # else said after the students were trained
            least = math.ceil(FEWEST / self.fraction)
            raise InvalidArgument(
                "train", f"{least} or more, as correction uses {self.fraction:g} of them and needs {FEWEST}",
                self.train, f"on the command line: --train {least}",
            )  # fmt: skip
        checks.wavelength(self.wavelength)
        for name in ("height", "roughness", "shift", "gain"):
            checks.non_negative(name, getattr(self, name))
        checks.fraction("crosstalk", self.crosstalk)
        for name in ("distance", "pitch", "light"):
            checks.positive(name, getattr(self, name))

    def as_dict(self) -> dict[str, float | int | str]:
        """Plain values, for JSON and for the attributes of results."""
        return dataclasses.asdict(self)
