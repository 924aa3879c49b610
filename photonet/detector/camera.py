"""`Detector`, a camera in the words of EMVA 1288: what it is, and how it turns light into grey values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .. import checks
from ..arrays import as_tensor, real_dtype
from ..errors import InvalidArgument
from .adc import digitize, full_scale
from .model import dark_current, photons, read_out, shot_noise
from .streams import Seed, stream

__all__ = ["Detector", "FixedPattern", "detect"]

CERTAIN_SATURATION = 4.0
"""Mean charge, in full wells, from which a pixel is saturated in every draw (50 sigma at 300 e-)."""

SLACK = 1e-6
"""Relative distance outside of a table that is the rounding of a wavelength in single precision."""

ROUNDING = 1e-5
"""Negative irradiance, relative to the brightest, that passes as the rounding error of an FFT."""


@dataclass(frozen=True)
class FixedPattern:
    """What distinguishes the pixels of one camera and stays with it: drawn once, see `Detector.pattern`.

    Attributes:
        offset: [y, x] in electrons, of mean 0 (dark signal nonuniformity).
        response: [y, x], relative to the mean pixel (photo response nonuniformity).
    """

    offset: torch.Tensor
    response: torch.Tensor


@dataclass(frozen=True)
class Detector:
    """A camera as its EMVA 1288 data sheet describes it; the defaults are a usual 12-bit CMOS camera.

    The defaults have the order of a Sony IMX249 at gain 0, with numbers rounded by hand; cameras with
    sources are read by `Detector.from_file`.

    Args:
        pitch: distance of the pixels (dy, dx) in m, or one number for both.
        exposure: exposure time in s.
        quantum_efficiency: electrons per photon on the whole pixel cell; one number for all
            wavelengths, or a table {wavelength in m: efficiency} to interpolate linearly in.
        gain: system gain K in DN per electron.
        bits: resolution of the converter.
        black_level: grey value without any electron, in DN.
        full_well: electrons a pixel can hold.
        dark_noise: temporal noise sigma_0 without light and dark current, in electrons.
        dark_current: mu_ref in electrons per second and pixel, at ``reference_temperature``.
        temperature: of the sensor in degrees C.
        reference_temperature: in degrees C.
        doubling_temperature: rise in K that doubles the dark current.
        dsnu: dark signal nonuniformity in electrons: standard deviations of its (row, column, pixel)
            parts, or one number, all of it in the pixels.
        prnu: photo response nonuniformity relative to 1, in the same form.

    Raises:
        InvalidArgument: naming the argument that cannot be.

    Example:
        >>> camera = Detector(exposure=2e-3, quantum_efficiency={450e-9: 0.6, 650e-9: 0.5})
        >>> light = torch.full((2, 2), 0.05)  # W/m^2
        >>> camera.expose(light, 550e-9, noise=False)[0, 0].round().item()
        692.0
        >>> noisy = camera.expose(light, 550e-9, seed=0)
        >>> torch.equal(noisy, camera.expose(light, 550e-9, seed=0)), torch.equal(noisy, noisy.round())
        (True, True)
    """

    pitch: Any = (5.86e-6, 5.86e-6)
    exposure: float = 10e-3
    quantum_efficiency: Any = 0.65
    gain: float = 0.12
    bits: int = 12
    black_level: float = 64.0
    full_well: float = 32_000.0
    dark_noise: float = 7.0
    dark_current: float = 5.0
    temperature: float = 25.0
    reference_temperature: float = 25.0
    doubling_temperature: float = 8.0
    dsnu: Any = (0.0, 0.0, 2.0)
    prnu: Any = (0.0, 0.0, 0.005)

    def __post_init__(self) -> None:
        clean: dict[str, Any] = {
            "pitch": tuple(
                checks.positive("pitch", d, "a positive length in m")
                for d in checks.pair("pitch", self.pitch)
            ),
            "quantum_efficiency": _efficiency(self.quantum_efficiency),
            "bits": checks.count("bits", self.bits),
            "dsnu": _parts("dsnu", self.dsnu),
            "prnu": _parts("prnu", self.prnu),
        }
        for name in ("exposure", "gain", "full_well", "doubling_temperature"):
            clean[name] = checks.positive(name, getattr(self, name))
        for name in ("black_level", "dark_noise", "dark_current"):
            clean[name] = checks.non_negative(name, getattr(self, name))
        for name in ("temperature", "reference_temperature"):
            clean[name] = checks.real(name, getattr(self, name))
        if clean["bits"] > 24:
            raise InvalidArgument("bits", "at most 24 (single precision holds no more)", clean["bits"])
        if clean["black_level"] >= full_scale(clean["bits"]):
            raise InvalidArgument(
                "black_level",
                f"less than {full_scale(clean['bits'])}, the end of the scale",
                self.black_level,
            )
        for name, value in clean.items():
            object.__setattr__(self, name, value)

    @property
    def area(self) -> float:
        """Area of a pixel cell in m^2."""
        return self.pitch[0] * self.pitch[1]

    @property
    def dark_electrons(self) -> float:
        """Mean electrons of the dark current in one exposure, mu_I t."""
        current = dark_current(
            self.dark_current, self.temperature, self.reference_temperature, self.doubling_temperature
        )
        return current * self.exposure

    @property
    def saturation(self) -> float:
        """Photo-electrons at which the pixel or the converter is full, mu_e.sat."""
        converter = (full_scale(self.bits) - self.black_level) / self.gain
        return min(self.full_well, converter) - self.dark_electrons

    def efficiency(self, wavelength: Any) -> torch.Tensor:
        """Quantum efficiency at each wavelength, float64 [L].

        Raises:
            InvalidArgument: a wavelength outside of the table: efficiency falls fast at its ends, so it
                is not guessed.
        """
        wavelength = checks.wavelength(wavelength)
        if isinstance(self.quantum_efficiency, float):
            return torch.full_like(wavelength, self.quantum_efficiency)
        at, values = (
            torch.tensor(self.quantum_efficiency, dtype=torch.float64).to(wavelength.device).T.contiguous()
        )
        outside = (wavelength < at[0] * (1 - SLACK)) | (wavelength > at[-1] * (1 + SLACK))
        if bool(outside.any()):
            raise InvalidArgument(
                "wavelength",
                f"within the table of the quantum efficiency, {at[0]:g} to {at[-1]:g} m",
                f"{wavelength[outside][0].item():g} m",
            )
        right = torch.searchsorted(at, wavelength.detach()).clamp(1, len(at) - 1)
        share = (wavelength - at[right - 1]) / (at[right] - at[right - 1])
        return torch.lerp(values[right - 1], values[right], share)

    def photo_electrons(self, irradiance: Any, wavelength: Any) -> torch.Tensor:
        """Mean photo-electrons of each pixel in one exposure, eta mu_p, summed over wavelengths.

        Args:
            irradiance: [..., L, y, x] in W/m^2 when ``wavelength`` is a list, [..., y, x] when it is one
                number; on the pixels of this camera (see `pixel_irradiance`).
            wavelength: vacuum wavelengths in m, [L] or one number.

        Returns:
            [..., y, x] in electrons.

        Raises:
            InvalidArgument: irradiance is negative or complex, or has another number of wavelengths.
        """
        light = as_tensor("irradiance", irradiance, least_dims=2)
        if light.is_complex():
            raise InvalidArgument("irradiance", "real values in W/m^2", "complex values", "pass abs(u)^2")
        light = light.to(real_dtype(light.dtype))
        if light.numel() and light.min() < -ROUNDING * light.max().clamp(min=0):
            raise InvalidArgument("irradiance", "no negative values", f"{light.min().item():g} W/m^2")
        many = getattr(wavelength, "ndim", 0) > 0 or isinstance(wavelength, (list, tuple))
        waves = checks.wavelength(wavelength).to(light.device)
        if not many:
            light = light[..., None, :, :]
        elif light.ndim < 3 or light.shape[-3] != len(waves):
            raise InvalidArgument(
                "irradiance",
                f"shape [..., {len(waves)}, y, x]: one plane for each wavelength",
                tuple(light.shape),
            )
        arrived = photons(light.clamp(min=0), waves, self.area, self.exposure)
        return torch.einsum("...lyx,l->...yx", arrived, self.efficiency(waves).to(arrived.dtype))

    def pattern(
        self, shape: Any, seed: Seed, *, dtype: torch.dtype = torch.float32, device: Any = "cpu"
    ) -> FixedPattern:
        """Draw one individual of this camera: its DSNU and PRNU maps.

        The numbers are drawn in float64 on the CPU, so that one seed is one camera on every device.

        Args:
            shape: pixels (ny, nx).
            seed: of the camera (not of the exposure).
            dtype, device: of the maps.

        Example:
            >>> maps = Detector(dsnu=(0, 3, 1)).pattern((64, 64), seed=4)
            >>> bool(maps.offset.mean(0).std() > maps.offset.mean(1).std())
            True
        """
        ny, nx = (checks.count("shape", n) for n in checks.pair("shape", shape))
        generator = stream(seed, "camera")

        def draw(parts: tuple[float, float, float]) -> torch.Tensor:
            shapes = ((ny, 1), (1, nx), (ny, nx))
            return sum(
                (
                    sigma * torch.randn(s, generator=generator, dtype=torch.float64)
                    for sigma, s in zip(parts, shapes, strict=True)
                ),
                torch.zeros(ny, nx, dtype=torch.float64),
            ).to(device=device, dtype=dtype)

        return FixedPattern(offset=draw(self.dsnu), response=(1 + draw(self.prnu)).clamp(min=0))

    def expose(
        self,
        irradiance: Any,
        wavelength: Any,
        *,
        seed: Seed | None = None,
        pattern: FixedPattern | None = None,
        frames: int = 1,
        noise: bool = True,
    ) -> torch.Tensor:
        """Take a picture: from irradiance on the pixels to grey values.

        Args:
            irradiance: as in `photo_electrons`.
            wavelength: as in `photo_electrons`.
            seed, pattern, frames, noise: as in `detect`.

        Returns:
            [..., y, x] in DN.

        Raises:
            InvalidArgument: bad irradiance, wavelength, seed, or a pattern of another shape.
        """
        electrons = self.photo_electrons(irradiance, wavelength)
        return detect(electrons, self, seed=seed, pattern=pattern, frames=frames, noise=noise)

    def electrons(self, grey: torch.Tensor) -> torch.Tensor:
        """Photo-electrons that on average give these grey values: (y - black level) / K - mu_d.

        Args:
            grey: [...] in DN.

        Example:
            >>> camera = Detector()
            >>> camera.electrons(detect(torch.tensor([[500.0]]), camera, noise=False)).round().item()
            500.0
        """
        return (grey - self.black_level) / self.gain - self.dark_electrons


def detect(
    electrons: torch.Tensor,
    detector: Detector,
    *,
    seed: Seed | None = None,
    pattern: FixedPattern | None = None,
    frames: int = 1,
    noise: bool = True,
) -> torch.Tensor:
    """From mean photo-electrons to grey values: fixed pattern, shot noise, full well, read noise, ADC.

    This is the camera for relative units: scale feature maps to electrons, and read them back with
    `Detector.electrons`. Gradients: shot noise as in `model.shot_noise`, the converter as in
    `adc.digitize`, and 0 where the full well is reached.

    Args:
        electrons: [..., y, x] mean photo-electrons; what rounding left below 0 counts as 0.
        detector: the camera.
        seed: of the exposure: a whole number, or a generator on the device of ``electrons``.
        pattern: the camera's fixed maps; without them every pixel is the mean pixel.
        frames: exposures to average.
        noise: False gives the mean signal: no shot, dark or read noise, no rounding (which EMVA 1288
            counts as noise); full well and converter still clip.

    Returns:
        [..., y, x] in DN, whole numbers for one noisy frame, in the dtype of ``electrons``
        (half precision becomes single).

    Raises:
        InvalidArgument: noise without a seed, or a pattern of another shape.

    Example:
        >>> features = torch.rand(8, 4, 4, generator=torch.Generator().manual_seed(1))
        >>> camera = Detector()
        >>> grey = detect(features * 0.8 * camera.saturation, camera, seed=0)
        >>> measured = camera.electrons(grey) / (0.8 * camera.saturation)
        >>> bool((measured - features).abs().max() < 0.05)
        True
    """
    signal = electrons.to(real_dtype(electrons.dtype)).clamp(min=0)
    offset: torch.Tensor | float = 0.0
    if pattern is not None:
        if pattern.response.shape != electrons.shape[-2:]:
            raise InvalidArgument(
                "pattern", f"maps of {tuple(electrons.shape[-2:])} pixels", tuple(pattern.response.shape)
            )
        signal, offset = signal * pattern.response.to(signal), pattern.offset.to(signal)
    mean = signal + detector.dark_electrons
    if not noise:
        grey = detector.gain * (mean.clamp(max=detector.full_well) + offset) + detector.black_level
        return grey.clamp(0, full_scale(detector.bits))
    generator = stream(seed, "exposure", electrons.device)  # type: ignore[arg-type]  # None is refused there
    # a Poisson draw of 1e30 is no number; from here on the well is full in any draw
    mean = mean.clamp(max=CERTAIN_SATURATION * max(detector.full_well, 300.0))
    total = torch.zeros_like(mean)
    for _ in range(checks.count("frames", frames)):
        charge = shot_noise(mean, generator).clamp(max=detector.full_well) + offset
        grey = read_out(charge, detector.gain, detector.black_level, detector.dark_noise, generator)
        total = total + digitize(grey, detector.bits)
    return total / frames


def _efficiency(value: Any) -> float | tuple[tuple[float, float], ...]:
    name = "quantum_efficiency"
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, (list, tuple)):
        if len(value) < 2 or not all(isinstance(row, (list, tuple)) and len(row) == 2 for row in value):
            raise InvalidArgument(name, "a table of two or more pairs (wavelength in m, efficiency)", value)
        rows = sorted((float(checks.wavelength(w, name)), checks.fraction(name, eta)) for w, eta in value)
        if len({w for w, _ in rows}) != len(rows):
            raise InvalidArgument(name, "every wavelength once", "a repeated wavelength")
        return tuple(rows)
    return checks.fraction(name, value)


def _parts(name: str, value: Any) -> tuple[float, float, float]:
    if not isinstance(value, (list, tuple)):
        return 0.0, 0.0, checks.non_negative(name, value)
    if len(value) != 3:
        raise InvalidArgument(name, "one number, or its (row, column, pixel) parts", f"{len(value)} values")
    row, column, pixel = (checks.non_negative(name, v) for v in value)
    return row, column, pixel
