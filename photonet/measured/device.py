"""A device nobody looks inside: designed masks, made with errors, before a camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from .. import checks
from ..design.masks import MaskDesign
from ..detector import Detector, detect
from ..errors import InvalidArgument, UnknownName
from ..fabrication import HeightError
from ..optics.imaging import image_by_kernels
from ..optics.psf import bin_pixels, shift
from ..streams import stream
from .features import Measured

__all__ = ["ERRORS", "Device", "make_devices"]

ERRORS: dict[str, str] = {
    "height": "",
    "shift_y": "pixel",
    "shift_x": "pixel",
    "gain": "",
    "crosstalk": "",
}
"""The drawn errors of a device, with their units.

``height``: relative error of every height (etch depth). ``shift_y``, ``shift_x``: displacement of the
images on the sensor in feature pixels. ``gain``: standard deviation of the captures' brightness, relative.
``crosstalk``: fraction of each capture's light that lands on its two neighbours.
"""

SCENES_AT_ONCE = 256


@dataclass(frozen=True)
class Device:
    """A fabricated optic and the camera behind it; only `measure` tells anything about it.

    Args:
        design: what was ordered: it fixes the digital gains and the order of the captures.
        psf: [2, k, 1, y, x] what was made, brightness and crosstalk of the captures included.
        detector: the camera.
        light: electrons in a pixel that a white scene gives with all the light of a capture.
        seed: of the camera's individual and of the exposures.
        binning: sensor pixels averaged into a feature, along each axis.
    """

    design: MaskDesign
    psf: torch.Tensor
    detector: Detector
    light: float
    seed: int
    binning: int = 1

    def measure(
        self, scenes: torch.Tensor, labels: torch.Tensor | None = None, *, exposure: int = 0
    ) -> Measured:
        """Show scenes, take the frames and read feature maps from them.

        Every capture is exposed on its own, the camera's black level and dark current are subtracted, and
        the two captures of a kernel are subtracted with the design's digital gains.

        Args:
            scenes: [n, 1, y, x] in [0, 1].
            labels: of the scenes, if they are known.
            exposure: number of the measurement; another one sees other noise.

        Returns:
            `Measured` with features [n, k, y / binning, x / binning] on the scale of the simulation.

        Raises:
            InvalidArgument: scenes outside [0, 1] (a display has a black and a white).
        """
        checks.finite("scenes", scenes)
        if scenes.ndim != 4 or scenes.shape[1] != 1:
            raise InvalidArgument("scenes", "shape [n, 1, y, x]", f"{tuple(scenes.shape)}")
        if bool((scenes < 0).any()) or bool((scenes > 1).any()):
            raise InvalidArgument(
                "scenes", "values in [0, 1]", f"{float(scenes.min()):g} to {float(scenes.max()):g}"
            )
        # a stream per batch: the noise of a scene does not depend on how many are measured after it
        features = [
            self._features(batch, stream(self.seed, f"exposure {exposure}.{index}", batch.device))
            for index, batch in enumerate(scenes.split(SCENES_AT_ONCE))
        ]
        return Measured(scenes, torch.cat(features), labels)

    def point_response(self, size: int, frames: int = 16) -> torch.Tensor:
        """Signed kernels [k, size, size] as measured: pictures of one bright pixel in a dark scene.

        Args:
            size: pixels of the scene along each axis.
            frames: exposures to average.
        """
        scene = torch.zeros(frames, 1, checks.count("size", size), size)
        scene[..., size // 2, size // 2] = 1.0
        whole = replace(self, binning=1).measure(scene, exposure=-1)
        return whole.features.mean(dim=0)

    def _features(self, scenes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        psf = self.psf.to(scenes)
        captures = image_by_kernels(scenes, psf.flatten(0, 1)).clamp(min=0)
        sensor = (self.light * captures).flatten(1, 2)  # all captures lie on one sensor, one above the other
        maps = self.detector.pattern(sensor.shape[-2:], self.seed, dtype=sensor.dtype, device=sensor.device)
        grey = detect(sensor, self.detector, seed=generator, pattern=maps)
        light = self.detector.electrons(grey).reshape(captures.shape) / self.light
        pairs = light.unflatten(1, psf.shape[:2]) * self.design.gain.to(light)[..., None, None]
        signed = pairs[:, 0] - pairs[:, 1]
        return F.avg_pool2d(signed, self.binning) if self.binning > 1 else signed


def make_devices(
    design: MaskDesign,
    draws: Mapping[str, Any],
    seeds: Sequence[int],
    *,
    binning: int = 1,
    detector: Detector | None = None,
    light: float = 20_000.0,
    roughness: float = 0.01,
) -> list[Device]:
    """Fabricate and assemble devices with given errors; their optics is computed together.

    Heights are changed before the phase, by the device's systematic error and an independent one of every
    mask sample; the point spread functions follow from the exact propagation. The images are displaced on
    the sensor by band-limited interpolation of the fine point spread function, captures differ in
    brightness, and each loses a part of its light to its neighbours (in the order positive, negative).

    Args:
        design: masks and gains.
        draws: for each of `ERRORS` one value per device; those that are missing are zero.
        seeds: one per device, for everything that is drawn inside it: roughness, brightness of the
            captures, the camera and its exposures.
        binning: sensor pixels averaged into a feature, along each axis.
        detector: the camera; by default `photonet.Detector()`.
        light: electrons in a pixel that a white scene gives with all the light of a capture.
        roughness: standard deviation of the independent relative height error.

    Returns:
        One `Device` per seed.

    Raises:
        InvalidArgument: an unknown error, or another number of values than of seeds.
    """
    unknown = set(draws) - set(ERRORS)
    if unknown:
        raise UnknownName("draws", min(unknown), ERRORS)
    values = {
        name: torch.as_tensor(draws.get(name, [0.0] * len(seeds)), dtype=torch.float64) for name in ERRORS
    }
    for name, value in values.items():
        if value.shape != (len(seeds),):
            raise InvalidArgument(
                f"draws[{name!r}]", f"{len(seeds)} values, one per seed", f"{tuple(value.shape)}"
            )
        checks.finite(f"draws[{name!r}]", value)
    made = [
        design.mask.perturb(HeightError(mean=float(height), random=roughness), seed=seed)
        for height, seed in zip(values["height"], seeds, strict=True)
    ]
    fine = torch.stack([design.fine_psf(mask) for mask in made])
    column = (-1, *([1] * (fine.ndim - 3)))
    fine = shift(
        fine,
        (values["shift_y"] * design.pixel).reshape(column).to(fine),
        (values["shift_x"] * design.pixel).reshape(column).to(fine),
    )
    psf = bin_pixels(fine, design.pixel).clamp(min=0)  # interpolation of sharp speckle rings below zero
    psf = psf * _brightness(values["gain"], seeds, psf.shape[1:3]).to(psf)[..., None, None, None]
    psf = _leak(psf, values["crosstalk"].to(psf))
    return [
        Device(design, one, detector or Detector(), light, seed, binning)
        for one, seed in zip(psf, seeds, strict=True)
    ]


def _brightness(spread: torch.Tensor, seeds: Sequence[int], captures: torch.Size) -> torch.Tensor:
    """Relative brightness [b, 2, k] of the captures, log-normal so that it stays positive."""
    normal = [
        torch.randn(captures, generator=stream(seed, "brightness"), dtype=torch.float64) for seed in seeds
    ]
    return torch.exp(spread[:, None, None] * torch.stack(normal))


def _leak(psf: torch.Tensor, crosstalk: torch.Tensor) -> torch.Tensor:
    """Give a fraction of every capture's light to its two neighbours on the sensor; the sum is kept."""
    line = psf.flatten(1, 2)
    part = crosstalk[:, None, None, None, None]
    line = (1 - part) * line + part / 2 * (line.roll(1, dims=1) + line.roll(-1, dims=1))
    return line.reshape(psf.shape)
