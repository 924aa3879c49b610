"""`Detector`, a camera in the words of EMVA 1288: what it is, and how it turns light into grey values."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from .. import checks, materials
from ..arrays import real_dtype
from ..errors import DataError, DataMissing, InvalidArgument
from ..grid import Grid
from ..precision import full_precision
from ..streams import Seed, stream
from .adc import full_scale
from .model import dark_current, light, numbers, photons, several
from .pattern import FixedPattern, clean_parts, nonuniformity
from .pixels import pixel_irradiance
from .readout import grey_values
from .response import clean_crosstalk, clean_response, convert
from .spectral import channel_masks, clean_efficiencies, clean_mosaic, interpolate

__all__ = ["Detector"]

COLDEST, HOTTEST = -273.15, 500.0
"""Degrees C that a sensor may have; other numbers are in other units."""

SOFTEST = 0.1
"""Largest softness of the full well: with more, the soft minimum would lower the dark signal too."""


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
        response: departure from linearity between charge and signal: coefficients (c1, c2, ...) of
            ``q (1 + c1 (q/W) + c2 (q/W)^2 ...)``, W the full well, or rows (charge, signal), both
            relative to W. See `response.convert`.
        softness: how gently the full well is approached, relative to it, at most 0.1. See
            `response.fill_well`.
        crosstalk: share of a pixel's charge that its four neighbours get, or a kernel with sum 1.
        fill: side of the light-sensitive rectangle relative to the pitch, (y, x) or one number.
        mosaic: colour filters over one tile of pixels, rows of names such as ``["RG", "GB"]``; then
            ``quantum_efficiency`` is a mapping from each name to a number or a table.
        name: for reports.

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
    response: Any = ()
    softness: float = 0.0
    crosstalk: Any = 0.0
    fill: Any = (1.0, 1.0)
    mosaic: Any = None
    name: str = "camera"

    def __post_init__(self) -> None:
        clean: dict[str, Any] = {
            "pitch": tuple(
                checks.positive("pitch", d, "a positive length in m")
                for d in checks.pair("pitch", self.pitch)
            ),
            "bits": checks.count("bits", self.bits),
            "dsnu": clean_parts("dsnu", self.dsnu),
            "prnu": clean_parts("prnu", self.prnu),
            "response": clean_response(self.response),
            "softness": checks.non_negative("softness", self.softness),
            "crosstalk": clean_crosstalk(self.crosstalk),
            "fill": tuple(checks.fraction("fill", f) for f in checks.pair("fill", self.fill)),
            "mosaic": None if self.mosaic is None else clean_mosaic(self.mosaic),
        }
        clean["quantum_efficiency"] = clean_efficiencies(self.quantum_efficiency, clean["mosaic"])
        for name in ("exposure", "gain", "full_well", "doubling_temperature"):
            clean[name] = checks.positive(name, getattr(self, name))
        for name in ("black_level", "dark_noise", "dark_current"):
            clean[name] = checks.non_negative(name, getattr(self, name))
        for name in ("temperature", "reference_temperature"):
            clean[name] = checks.real(name, getattr(self, name))
            _must_be_celsius(name, clean[name], clean[name])
        if clean["softness"] > SOFTEST:
            raise InvalidArgument("softness", f"at most {SOFTEST} of the full well", clean["softness"])
        if min(clean["fill"]) == 0:
            raise InvalidArgument("fill", "a fraction above 0", 0)
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

    @classmethod
    def from_file(cls, file: str | Path, **changes: Any) -> Detector:
        """A camera from its file.

        Args:
            file: a name in ``materials/cameras`` (each number in there has its source), or the path of
                a TOML file of the same form.
            changes: arguments that differ from the file, such as ``exposure=2e-3``.

        Raises:
            UnknownName: no camera of that name; the message offers the near matches.
            DataMissing: no such file.
            DataError: the file cannot be read, or is not of this form.
            InvalidArgument: changes to what a camera has not, or cannot be.

        Example:
            >>> Detector.from_file("imx249", exposure=1e-3).pitch
            (5.86e-06, 5.86e-06)
        """
        known = {f.name for f in fields(cls)}
        for name in changes:
            checks.choice("changes", name, known)
        path = Path(file) if str(file).endswith(".toml") else materials.path("cameras", str(file))
        if not os.path.isfile(path):
            raise DataMissing(f"there is no camera file {path}")
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a TOML file: {error}") from None
        values = content.get("camera")
        if not isinstance(values, dict):
            raise DataError(f"{path}: expected a table [camera]")
        unknown = sorted(set(values) - known)
        if unknown:
            raise DataError(f"{path}: [camera] has the unknown key {unknown[0]!r}")
        try:
            camera = cls(**{"name": str(content.get("name", path.stem)), **values})
        except InvalidArgument as error:
            raise DataError(f"{path}: {error}") from None
        return replace(camera, **changes)

    @property
    def area(self) -> float:
        """Area of a pixel cell in m^2."""
        return self.pitch[0] * self.pitch[1]

    @property
    def dark_electrons(self) -> float:
        """Mean electrons of the dark current in one exposure, mu_I t."""
        return float(self.dark_electrons_at(self.temperature))

    def dark_electrons_at(self, temperature: Any) -> Any:
        """The same at another temperature of the sensor.

        Args:
            temperature: in degrees C, a number or a tensor.

        Raises:
            InvalidArgument: not a finite real number, or one that no sensor has.

        Example:
            >>> camera = Detector(dark_current=100.0, exposure=0.5, doubling_temperature=8.0)
            >>> camera.dark_electrons, camera.dark_electrons_at(33.0)
            (50.0, 100.0)
        """
        if hasattr(temperature, "shape"):
            temperature = numbers("temperature", temperature, "degrees C")
            if temperature.numel():
                _must_be_celsius("temperature", *(float(t) for t in temperature.aminmax()))
        else:
            temperature = checks.real("temperature", temperature, "a number in degrees C")
            _must_be_celsius("temperature", temperature, temperature)
        current = dark_current(
            self.dark_current, temperature, self.reference_temperature, self.doubling_temperature
        )
        return current * self.exposure

    @property
    def saturation(self) -> float:
        """Photo-electrons at which the pixel or the converter is full, mu_e.sat.

        Raises:
            InvalidArgument: the dark current alone fills the pixel during the exposure.
        """
        limit = (full_scale(self.bits) - self.black_level) / self.gain
        low, high = 0.0, self.full_well
        if self._signal(high) > limit:
            for _ in range(60):  # halvings: to the last bit of a double
                middle = (low + high) / 2
                low, high = (low, middle) if self._signal(middle) > limit else (middle, high)
        if self.dark_electrons >= high:
            raise InvalidArgument(
                "dark_current",
                f"less than {high / self.exposure:.3g} e-/s, which fill the pixel in {self.exposure:g} s",
                f"{self.dark_electrons / self.exposure:.3g} e-/s at {self.temperature:g} degrees C",
                "shorten the exposure or cool the sensor",
            )
        return high - self.dark_electrons

    @property
    def saturation_level(self) -> float:
        """Grey value in DN of a full pixel, or the end of the converter where that comes first.

        Brighter light gives no more, apart from read noise and DSNU.

        Example:
            >>> Detector().saturation_level, Detector(full_well=40_000.0).saturation_level
            (3904.0, 4095.0)
        """
        full = self.black_level + self.gain * self._signal(self.full_well)
        return min(full, float(full_scale(self.bits)))

    def _signal(self, charge: float) -> float:
        """Charge after the nonlinear conversion, in electrons."""
        return convert(torch.tensor(charge, dtype=torch.float64), self.full_well, self.response).item()

    def behind(self, filter_name: str) -> Detector:
        """The pixels behind one colour filter of the mosaic, as a camera without a mosaic.

        Raises:
            UnknownName: no such filter.
            InvalidArgument: a camera without a mosaic.

        Example:
            >>> camera = Detector(mosaic=["RG", "GB"], quantum_efficiency={"R": 0.4, "G": 0.6, "B": 0.5})
            >>> camera.behind("G").quantum_efficiency
            0.6
        """
        if self.mosaic is None:
            raise InvalidArgument("filter_name", "a camera with a mosaic", f"{self.name}, which has none")
        efficiency = checks.lookup("filter_name", filter_name, dict(self.quantum_efficiency))
        return replace(self, mosaic=None, quantum_efficiency=efficiency)

    def efficiency(self, wavelength: Any, filter_name: str | None = None) -> torch.Tensor:
        """Quantum efficiency at each wavelength, float64 [L].

        Args:
            wavelength: in m.
            filter_name: which colour filter, for a camera with a mosaic.

        Raises:
            InvalidArgument: a wavelength outside of the table, or an unknown filter.
        """
        waves = checks.wavelength(wavelength)
        if self.mosaic is None:
            return interpolate(self.quantum_efficiency, waves)
        return interpolate(checks.lookup("filter_name", filter_name, dict(self.quantum_efficiency)), waves)

    def sample(
        self, irradiance: torch.Tensor, grid: Grid, pixels: Any, centre: Any = (0.0, 0.0)
    ) -> torch.Tensor:
        """Collect the irradiance of a field's samples on this camera's pixels (`pixel_irradiance`).

        Args:
            irradiance: [..., y, x] in W/m^2 on ``grid``.
            grid: where the samples lie.
            pixels: number of pixels (ny, nx), or one for both.
            centre: position of the middle pixel (y, x) in m.

        Example:
            >>> light = torch.ones(64, 64)
            >>> Detector(pitch=2e-6).sample(light, Grid(64, 1e-6), pixels=16).shape
            torch.Size([16, 16])
        """
        return pixel_irradiance(irradiance, grid, Grid(pixels, self.pitch, centre), self.fill)

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
        watts = light("irradiance", irradiance, "W/m^2", "pass abs(u)^2 of a field")
        if watts.ndim < 2:
            raise InvalidArgument("irradiance", "at least 2 axes (..., y, x)", f"shape {tuple(watts.shape)}")
        watts = watts.to(real_dtype(watts.dtype)).clamp(min=0)
        waves = checks.wavelength(wavelength).to(watts.device)
        if not several(wavelength):
            watts = watts[..., None, :, :]
        arrived = photons(watts, waves, self.area, self.exposure)

        def collected(filter_name: str | None) -> torch.Tensor:
            efficiency = self.efficiency(waves, filter_name).to(arrived.dtype)
            with full_precision(arrived):
                return torch.einsum("...lyx,l->...yx", arrived, efficiency)

        if self.mosaic is None:
            return collected(None)
        ny, nx = arrived.shape[-2:]
        total = torch.zeros_like(arrived[..., 0, :, :])
        for name, mask in channel_masks(self.mosaic, (ny, nx)).items():
            total = torch.where(mask.to(total.device), collected(name), total)
        return total

    def pattern(
        self, shape: Any, seed: Seed, *, dtype: torch.dtype = torch.float32, device: Any = "cpu"
    ) -> FixedPattern:
        """Draw one individual of this camera: its DSNU and PRNU maps.

        Both are relative to the mean pixel of the frame, as the standard has them, so the mean signal is
        that of the data sheet. The numbers are drawn in float64 on the CPU: one seed is one camera on
        every device.

        Args:
            shape: pixels (ny, nx).
            seed: of the camera (not of the exposure).
            dtype, device: of the maps; a floating-point one.

        Raises:
            InvalidArgument: no shape, no seed, or another dtype.

        Example:
            >>> maps = Detector(dsnu=(0, 3, 1)).pattern((64, 64), seed=4)
            >>> bool(maps.offset.mean(0).std() > maps.offset.mean(1).std())
            True
        """
        size = tuple(checks.count("shape", n) for n in checks.pair("shape", shape))
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InvalidArgument("dtype", "a floating-point torch.dtype", dtype)
        generator = stream(seed, "camera")
        offset, relative = (nonuniformity(parts, size, generator) for parts in (self.dsnu, self.prnu))
        return FixedPattern(
            offset=offset.to(device=device, dtype=dtype),
            response=(1 + relative).clamp(min=0).to(device=device, dtype=dtype),
        )

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
        return grey_values(electrons, self, seed, pattern, frames, noise)

    def electrons(self, grey: torch.Tensor) -> torch.Tensor:
        """Photo-electrons that give these grey values in a linear camera: (y - black level) / K - mu_d.

        A nonlinear ``response`` is not undone: that is a matter of calibration (`measured`).

        Args:
            grey: [...] in DN.

        Raises:
            InvalidArgument: no real tensor.

        Example:
            >>> camera = Detector()
            >>> from photonet.detector import detect
            >>> camera.electrons(detect(torch.tensor([[500.0]]), camera, noise=False)).round().item()
            500.0
        """
        if checks.instance("grey", grey, torch.Tensor, "a tensor in DN").is_complex():
            raise InvalidArgument("grey", "real numbers in DN", "complex ones")
        return (grey - self.black_level) / self.gain - self.dark_electrons


def _must_be_celsius(name: str, low: float, high: float) -> None:
    if not COLDEST <= low <= high <= HOTTEST:
        expected = f"degrees C from {COLDEST:g} to {HOTTEST:g}"
        raise InvalidArgument(name, expected, low if low < COLDEST else high)
