"""Photo-electrons to grey values: what happens in a pixel and behind it, in the order of the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .. import checks
from ..arrays import as_tensor, real_dtype
from ..errors import InvalidArgument
from ..streams import Seed, stream
from .adc import digitize, full_scale
from .model import light, poisson, read_out
from .pattern import FixedPattern
from .response import convert, fill_well, spread

if TYPE_CHECKING:
    from .camera import Detector

__all__ = ["detect", "grey_values", "without_mosaic"]

CERTAIN_SATURATION = 4.0
"""Mean charge, in full wells, from which a pixel is saturated in every draw: 50 sigma above `LEAST_WELL`."""

LEAST_WELL = 300.0
"""Full well in electrons below which `CERTAIN_SATURATION` is counted from this one."""


def detect(
    electrons: torch.Tensor,
    detector: Detector,
    *,
    seed: Seed | None = None,
    pattern: FixedPattern | None = None,
    frames: int = 1,
    noise: bool = True,
    temperature: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """From mean photo-electrons to grey values.

    In order: crosstalk, PRNU, dark current, shot noise, full well, nonlinear conversion, DSNU, read
    noise, gain and black level, converter.

    This is the camera for relative units: scale feature maps to electrons, and read them back with
    `Detector.electrons`. Gradients: shot noise as in `model.shot_noise`, the converter as in
    `adc.digitize`, and 0 where the full well is reached.

    Args:
        electrons: [..., y, x] mean photo-electrons; what rounding left below 0 counts as 0.
        detector: the camera, without a mosaic: electrons do not tell which light they come from.
        seed: of the exposure: a whole number, or a generator on the device of ``electrons``. Leading axes
            share one stream, so the noise of a picture depends on those it is exposed together with.
        pattern: the camera's fixed maps; without them every pixel is the mean pixel.
        frames: exposures to average.
        noise: False gives the mean signal: no shot, dark or read noise, no rounding (which EMVA 1288
            counts as noise); full well and converter still clip.
        temperature: of the sensor in degrees C at each exposure, to broadcast against ``electrons``;
            without it that of the detector.

    Returns:
        [..., y, x] in DN, whole numbers for one noisy frame, in the dtype of ``electrons``
        (half precision becomes single).

    Raises:
        InvalidArgument: noise without a seed, a pattern of another shape, electrons that are negative,
            electrons or temperatures that are not finite real numbers, temperatures that no sensor has, or a
            camera with a mosaic.

    Example:
        >>> from photonet import Detector
        >>> features = torch.rand(8, 4, 4, generator=torch.Generator().manual_seed(1))
        >>> camera = Detector()
        >>> grey = detect(features * 0.8 * camera.saturation, camera, seed=0)
        >>> measured = camera.electrons(grey) / (0.8 * camera.saturation)
        >>> bool((measured - features).abs().max() < 0.05)
        True
    """
    without_mosaic(detector)
    electrons = light("electrons", electrons, "electrons", "of a field take the irradiance")
    if temperature is not None:
        temperature = as_tensor("temperature", temperature).to(electrons.device)
        if not _fits(temperature.shape, electrons.shape):
            expected = f"one, or as many as broadcast against {tuple(electrons.shape)}"
            raise InvalidArgument("temperature", expected, tuple(temperature.shape))
    return grey_values(electrons, detector, seed, pattern, frames, noise, temperature)


def _fits(small: torch.Size, large: torch.Size) -> bool:
    try:
        return torch.broadcast_shapes(small, large) == large
    except RuntimeError:
        return False


def without_mosaic(detector: Detector) -> Detector:
    """Refuse a camera with colour filters where nothing says which light its electrons come from."""
    if detector.mosaic is not None:
        raise InvalidArgument(
            "detector",
            "a camera without a mosaic: what a filter lets pass is a matter of the wavelength",
            f"{detector.name} with the mosaic {' '.join(map(''.join, detector.mosaic))}",
            f"detector.behind({detector.mosaic[0][0]!r}) is the camera of one filter's pixels, "
            "and Detector.expose takes light through all of them",
        )
    return detector


def grey_values(
    electrons: torch.Tensor,
    detector: Detector,
    seed: Seed | None,
    pattern: FixedPattern | None,
    frames: int,
    noise: bool,
    temperature: torch.Tensor | None = None,
) -> torch.Tensor:
    """`detect` for electrons that came through the pixels' own filters.

    Their values are not looked at, for which a training step on a GPU would have to wait; what is below 0
    counts as 0.
    """
    checks.count("frames", frames)
    signal = spread(electrons.to(real_dtype(electrons.dtype)).clamp(min=0), detector.crosstalk)
    offset: torch.Tensor | float = 0.0
    if pattern is not None:
        checks.instance("pattern", pattern, FixedPattern, "the maps of Detector.pattern")
        if pattern.response.shape != electrons.shape[-2:]:
            raise InvalidArgument(
                "pattern", f"maps of {tuple(electrons.shape[-2:])} pixels", tuple(pattern.response.shape)
            )
        signal, offset = signal * pattern.response.to(signal), pattern.offset.to(signal)
    if temperature is None:
        mean = signal + detector.dark_electrons
    else:
        mean = signal + detector.dark_electrons_at(temperature).to(signal)

    def converted(charge: torch.Tensor) -> torch.Tensor:
        kept = fill_well(charge, detector.full_well, detector.softness)
        return convert(kept, detector.full_well, detector.response) + offset

    if not noise:
        grey = detector.gain * converted(mean) + detector.black_level
        return grey.clamp(0, full_scale(detector.bits))
    generator = stream(seed, "exposure", electrons.device)
    # a Poisson draw of 1e30 is no number; from here on the well is full in any draw
    mean = mean.clamp(max=CERTAIN_SATURATION * max(detector.full_well, LEAST_WELL))
    total = torch.zeros_like(mean)
    for _ in range(frames):
        charge = converted(poisson(mean, generator))
        grey = read_out(charge, detector.gain, detector.black_level, detector.dark_noise, generator)
        total = total + digitize(grey, detector.bits)
    return total / frames
