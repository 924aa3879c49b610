"""Making devices: the errors of fabrication and assembly, drawn for each, and its optics with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from .. import checks
from ..arrays import as_tensor
from ..design.masks import MaskDesign
from ..detector import Detector
from ..errors import InvalidArgument, UnknownName
from ..fabrication import HeightError
from ..mask import Mask
from ..optics.psf import bin_pixels, shift
from ..streams import stream
from .device import Device

__all__ = ["ERRORS", "make_devices"]

ERRORS: dict[str, str] = {
    "height": "",
    "shift_y": "pixel",
    "shift_x": "pixel",
    "gain": "",
    "crosstalk": "",
    "defocus": "m",
    "rotation": "rad",
    "scale": "",
    "vignetting": "",
    "pixel_gain": "",
    "offset": "",
    "saturation": "",
    "drift": "1/h",
    "scene_shift_y": "pixel",
    "scene_shift_x": "pixel",
    "scene_rotation": "rad",
    "scene_scale": "",
    "flicker": "",
    "warming": "K/h",
}
"""The drawn errors of a device, with their units.

``height``: relative error of every height (etch depth). ``shift_y``, ``shift_x``: displacement of the
images on the sensor in feature pixels. ``gain``: standard deviation of the captures' brightness, relative.
``crosstalk``: fraction of each capture's light that lands on its two neighbours; the first and the last
count as neighbours. ``defocus``: displacement of the sensor away from the masks. ``rotation``, ``scale``: of
the images on the sensor about their axes, the displacement included; ``scale`` is the relative enlargement.
``vignetting``: fraction of the light missing in the corners. ``pixel_gain``: standard deviation of the
sensor pixels' response, relative.
``offset``: stray light, the scale of a half-normal draw for each capture, relative to white.
``saturation``: white over the level where the response is flat (tanh). ``drift``: relative change of the
laser's power per hour. ``scene_shift_y``, ``scene_shift_x``, ``scene_rotation``, ``scene_scale``:
displacement of the display in scene pixels, its rotation and enlargement, before the masks (a mask that is
turned is a scene and a sensor turned against it). ``flicker``: standard deviation of the light of a frame,
relative and independent from frame to frame (pulse energy, shutter). ``warming``: rise of the sensor's
temperature, which acts on the dark current.
"""

BENCH = (
    "rotation",
    "scale",
    "vignetting",
    "pixel_gain",
    "offset",
    "saturation",
    "drift",
    "scene_shift_y",
    "scene_shift_x",
    "scene_rotation",
    "scene_scale",
    "flicker",
    "warming",
)
"""The errors that act before or after the point spread functions, or in time."""


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
    brightness, and each loses a part of its light to its neighbours (in the order positive, negative; the
    first and the last count as neighbours). The errors that act on the sensor follow in the order rotation
    and scale, vignetting, stray light, gain of the pixels, response.

    Args:
        design: masks and gains.
        draws: for each of `ERRORS` one value per device; those that are missing are zero.
        seeds: one per device, for everything that is drawn inside it: roughness, brightness of the
            captures, the camera and its exposures.
        binning: sensor pixels averaged into a feature, along each axis.
        detector: the camera; by default `photonet.Detector()`.
        light: electrons in a pixel that a white scene gives with all the light of a capture, positive.
        roughness: standard deviation of the independent relative height error.

    Returns:
        One `Device` per seed.

    Raises:
        UnknownName: an unknown error.
        InvalidArgument: no seeds, another number of values than of seeds, no light, a share of it outside
            [0, 1], a negative roughness, or a binning that is no whole number of at least 1.
    """
    checks.instance("design", design, MaskDesign, "a MaskDesign")
    if not isinstance(draws, Mapping):
        raise InvalidArgument("draws", "a mapping from errors to their values", type(draws).__name__)
    camera = checks.instance("detector", detector or Detector(), Detector, "a Detector")
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise InvalidArgument("seeds", "whole numbers, one per device", repr(seeds)[:80])
    seeds = [checks.count("seeds", seed, least=0) for seed in seeds]
    if not seeds:
        raise InvalidArgument("seeds", "whole numbers, one per device", "none")
    checks.count("binning", binning)
    roughness = checks.non_negative("roughness", roughness)
    unknown = set(draws) - set(ERRORS)
    if unknown:
        raise UnknownName("draws", min(unknown), ERRORS)
    values = dict[str, torch.Tensor]()
    for name in ERRORS:
        drawn = as_tensor(f"draws[{name!r}]", draws.get(name, [0.0] * len(seeds))).detach()
        if drawn.shape != (len(seeds),) or drawn.is_complex():
            expected = f"{len(seeds)} values, one per seed"
            raise InvalidArgument(f"draws[{name!r}]", expected, f"{drawn.dtype} {tuple(drawn.shape)}")
        value = values[name] = drawn.double()
        if name == "crosstalk" and not bool(((value >= 0) & (value <= 1)).all()):
            raise InvalidArgument("draws['crosstalk']", "shares of the light, in [0, 1]", value.tolist())
    checks.positive("light", light, "a positive number of electrons")
    made = [
        design.mask.perturb(HeightError(mean=float(height), random=roughness), seed=seed)
        for height, seed in zip(values["height"], seeds, strict=True)
    ]
    fine = torch.stack(
        [
            design.fine_psf(_with_sensor_at(mask, float(defocus)))
            for mask, defocus in zip(made, values["defocus"], strict=True)
        ]
    )
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
        Device(design, one, camera, light, seed, binning, _bench(values, index))
        for index, (one, seed) in enumerate(zip(psf, seeds, strict=True))
    ]


def _bench(values: Mapping[str, torch.Tensor], index: int) -> dict[str, float]:
    return {name: float(values[name][index]) for name in BENCH}


def _with_sensor_at(mask: Mask, defocus: float) -> Mask:
    """The mask with its sensor farther away."""
    if mask.distance is None or not defocus:
        return mask
    return replace(mask, distance=mask.distance + defocus)


def _brightness(spread: torch.Tensor, seeds: Sequence[int], captures: torch.Size) -> torch.Tensor:
    """Relative brightness [b, 2, k] of the captures, log-normal so that it stays positive."""
    normal = [
        torch.randn(captures, generator=stream(seed, "brightness"), dtype=torch.float64) for seed in seeds
    ]
    return torch.exp(spread[:, None, None] * torch.stack(normal))


def _leak(psf: torch.Tensor, crosstalk: torch.Tensor) -> torch.Tensor:
    """Give a fraction of every capture's light to its two neighbours on the sensor; the sum is kept.

    The first and the last count as neighbours, as if the sensor were closed to a ring.
    """
    line = psf.flatten(1, 2)
    part = crosstalk[:, None, None, None, None]
    line = (1 - part) * line + part / 2 * (line.roll(1, dims=1) + line.roll(-1, dims=1))
    return line.reshape(psf.shape)
