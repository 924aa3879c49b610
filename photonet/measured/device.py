"""A device nobody looks inside: designed masks, made with errors, before a camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from .. import checks
from ..arrays import as_pictures
from ..design.masks import MaskDesign
from ..detector import Detector, detect
from ..errors import InvalidArgument
from ..optics.imaging import image_by_kernels
from ..streams import stream
from .captures import cut_windows, signed_maps
from .features import Measured
from .lab import HOUR, cos4_falloff, laser_power, soft_saturation, warp

__all__ = ["Device"]

SCENES_AT_ONCE = 256


@dataclass(frozen=True, eq=False, repr=False)
class Device:
    """A fabricated optic and the camera behind it; only its frames tell anything about it.

    All captures lie on one sensor, one above the other: first the positive parts of the kernels, then the
    negative ones.

    Args:
        design: what was ordered: it fixes the digital gains and the order of the captures.
        psf: [2, k, 1, y, x] what was made, brightness and crosstalk of the captures included.
        detector: the camera.
        light: electrons in a pixel that a white scene gives with all the light of a capture.
        seed: of the camera's individual and of the exposures.
        binning: sensor pixels averaged into a feature, along each axis.
        bench: errors that act on the bench, those of `ERRORS` that are not in ``psf``.
    """

    design: MaskDesign
    psf: torch.Tensor
    detector: Detector
    light: float
    seed: int
    binning: int = 1
    bench: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        errors = "".join(f", {name} {value:.3g}" for name, value in self.bench.items() if value)
        return f"<Device {self.seed} of {self.design!r}, camera {self.detector.name!r}{errors}>"

    @property
    def layout(self) -> tuple[int, int]:
        """Captures on the sensor along y and x."""
        return self.psf.shape[0] * self.psf.shape[1], 1

    def measure(
        self,
        scenes: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        exposure: int = 0,
        time: torch.Tensor | float = 0.0,
    ) -> Measured:
        """Show scenes, take the frames and read feature maps from them.

        Every capture is exposed on its own, the camera's black level and dark current (of its data sheet)
        are subtracted, and the two captures of a kernel are subtracted with the design's digital gains.

        Args:
            scenes: [n, 1, y, x] in [0, 1].
            labels: of the scenes, if they are known.
            exposure: number of the measurement; another one sees other noise.
            time: when the frames are taken, in s since the bench was aligned: one time or [n].

        Returns:
            `Measured` with features [n, k, y / binning, x / binning] on the scale of the simulation.

        Raises:
            InvalidArgument: scenes outside [0, 1] (a display has a black and a white), or another number of
                times than of scenes.
        """
        scenes = as_pictures("scenes", scenes)
        times = self._times(time, scenes)
        # a stream per batch: a full batch sees the same noise however many scenes follow it
        features = [
            self._read(self.frames(batch, exposure=(exposure, index), time=moments))
            for index, (batch, moments) in enumerate(
                zip(scenes.split(SCENES_AT_ONCE), times.split(SCENES_AT_ONCE), strict=True)
            )
        ]
        return Measured(scenes, torch.cat(features), labels)

    def frames(
        self,
        scenes: torch.Tensor,
        *,
        exposure: int | tuple[int, int] = 0,
        time: torch.Tensor | float = 0.0,
        seconds: float | None = None,
    ) -> torch.Tensor:
        """What the camera gives of scenes: raw grey values.

        Args:
            scenes: [n, 1, y, x] in [0, 1].
            exposure: number of the measurement, or (number, part of it); another one sees other noise.
            time: in s since the bench was aligned: one time or [n].
            seconds: exposure time in s; by default the camera's.

        Returns:
            [n, 2 k y, x] in DN.

        Raises:
            InvalidArgument: as `measure`.
        """
        scenes = as_pictures("scenes", scenes)
        if scenes.shape[1] != 1:
            raise InvalidArgument("scenes", "shape [n, 1, y, x]", f"{tuple(scenes.shape)}")
        if bool((scenes < 0).any()) or bool((scenes > 1).any()):
            raise InvalidArgument(
                "scenes", "values in [0, 1]", f"{float(scenes.min()):g} to {float(scenes.max()):g}"
            )
        moved = self._displaced(scenes)
        captures = image_by_kernels(moved, self.psf.to(scenes).flatten(0, 1))
        times = self._times(time, scenes)
        power = laser_power(times, self._error("drift")).to(scenes)[:, None, None, None]
        light = self._on_the_bench(captures * power, imaged=True)
        return self._expose(light, times, seconds, _name("exposure", exposure))

    def dark_frames(
        self,
        scene: tuple[int, int],
        *,
        exposure: int | tuple[int, int] = 0,
        time: torch.Tensor | float = 0.0,
        seconds: float | None = None,
    ) -> torch.Tensor:
        """Frames without light: one for each time.

        Args:
            scene: (y, x) pixels of the scenes.
            exposure, time, seconds: as in `frames`.

        Returns:
            [n, 2 k y, x] in DN.
        """
        times = torch.as_tensor(time, dtype=torch.float64).reshape(-1)
        light = torch.zeros(len(times), self.layout[0], *scene)
        return self._expose(light, times, seconds, _name("dark", exposure))

    def flat_frames(
        self,
        scene: tuple[int, int],
        *,
        exposure: int | tuple[int, int] = 0,
        time: torch.Tensor | float = 0.0,
        seconds: float | None = None,
    ) -> torch.Tensor:
        """Frames of the laser's uniform light without masks, one for each time.

        At the camera's own exposure time they are as bright as a white scene with all the light of a capture.

        Args:
            scene: (y, x) pixels of the scenes.
            exposure, time, seconds: as in `frames`.

        Returns:
            [n, 2 k y, x] in DN.
        """
        times = torch.as_tensor(time, dtype=torch.float64).reshape(-1)
        power = laser_power(times, self._error("drift")).float()[:, None, None, None]
        light = self._on_the_bench(power.expand(-1, self.layout[0], *scene), imaged=False)
        return self._expose(light, times, seconds, _name("flat", exposure))

    def temperature(self, time: torch.Tensor | float) -> torch.Tensor:
        """Temperature of the sensor in degrees C at times in s."""
        times = torch.as_tensor(time, dtype=torch.float64)
        return self.detector.temperature + self._error("warming") * times / HOUR

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

    def _error(self, name: str) -> float:
        return self.bench.get(name, 0.0)

    def _times(self, time: torch.Tensor | float, scenes: torch.Tensor) -> torch.Tensor:
        times = torch.as_tensor(time, dtype=torch.float64, device=scenes.device)
        if times.shape not in ((), (len(scenes),)):
            raise InvalidArgument("time", f"one time or {len(scenes)} of them", f"shape {tuple(times.shape)}")
        return times.expand(len(scenes))

    def _displaced(self, scenes: torch.Tensor) -> torch.Tensor:
        """The scenes where the display really is."""
        names = ("scene_rotation", "scene_scale", "scene_shift_y", "scene_shift_x")
        if not any(map(self._error, names)):
            return scenes
        return warp(scenes, *map(self._error, names)).clamp(min=0)  # the spline may ring below black

    def _on_the_bench(self, captures: torch.Tensor, *, imaged: bool) -> torch.Tensor:
        """Captures [n, 2k, y, x] after geometry, lens, stray light and unequal pixels of this bench.

        Uniform light (not ``imaged``) has no geometry, and comes without the stray light of the display.
        """
        if imaged and (self._error("rotation") or self._error("scale")):
            captures = warp(captures, self._error("rotation"), self._error("scale"))
        shape = captures.shape[1:]
        if self._error("vignetting"):
            captures = captures * cos4_falloff((shape[-2], shape[-1]), self._error("vignetting")).to(captures)
        if imaged and self._error("offset"):
            stray = torch.randn(shape[0], 1, 1, generator=stream(self.seed, "stray light")).abs()
            captures = captures + self._error("offset") * stray.to(captures)
        if self._error("pixel_gain"):
            unequal = torch.randn(shape, generator=stream(self.seed, "pixel gain"))
            captures = captures * torch.exp(self._error("pixel_gain") * unequal).to(captures)
        return captures

    def _expose(
        self, light: torch.Tensor, times: torch.Tensor, seconds: float | None, name: str
    ) -> torch.Tensor:
        """The camera's frames of light [n, 2k, y, x], relative to white at the camera's exposure time."""
        camera = self.detector if seconds is None else replace(self.detector, exposure=seconds)
        if seconds is not None:
            light = light * (camera.exposure / self.detector.exposure)
        if self._error("flicker"):
            drawn = torch.randn(len(light), generator=stream(self.seed, f"flicker, {name}"))
            light = light * torch.exp(self._error("flicker") * drawn).to(light)[:, None, None, None]
        light = soft_saturation(light, self._error("saturation")).clamp(min=0)
        sensor = (self.light * light).flatten(1, 2)
        maps = camera.pattern(sensor.shape[-2:], self.seed, dtype=sensor.dtype, device=sensor.device)
        temperature = self.temperature(times)[:, None, None] if self._error("warming") else None
        generator = stream(self.seed, name, sensor.device)
        return detect(sensor, camera, seed=generator, pattern=maps, temperature=temperature)

    def _read(self, frames: torch.Tensor) -> torch.Tensor:
        """Feature maps of frames, by the data sheet of the camera."""
        light = self.detector.electrons(cut_windows(frames, self.layout)) / self.light
        return signed_maps(light, self.design.gain, self.binning)


def _name(group: str, exposure: int | tuple[int, int]) -> str:
    number, part = exposure if isinstance(exposure, tuple) else (exposure, 0)
    return f"{group} {number}.{part}"
