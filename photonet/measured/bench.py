"""A virtual bench: put a device on it, and get the file that a real bench would have written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checks
from ..errors import InvalidArgument
from ..files import writable
from .device import Device
from .writer import Part, write

__all__ = ["run_bench"]

FLAT_LEVEL = 0.5
"""Exposure time of the repeated flat frames, relative to that of the scenes."""

BRIGHTEST = 0.9
"""Part of the camera's saturation that the brightest flat frame reaches."""

ABOVE_WHITE = 1.25
"""Brightest flat frame relative to white, if the camera allows it: the scenes lie within its range."""

POINT_LEVEL = 0.5
"""Part of the camera's range that the brightest pixel of a point source reaches."""

LONGEST = 64.0
"""Longest exposure of a point source, relative to the camera's."""


def run_bench(
    device: Device,
    scenes: torch.Tensor,
    path: str | Path,
    *,
    labels: Any = None,
    names: Sequence[str] | None = None,
    dark: int = 16,
    flat: int = 32,
    levels: int = 10,
    points: int = 16,
    interval: float = 0.1,
    start: float = 0.0,
    exposure: int = 0,
    seconds: float | None = None,
    notes: str = "",
    chunk: int = 256,
) -> None:
    """Show scenes to a device and write all frames to one file of measured data.

    The file holds what a real bench notes and nothing else: raw grey values, exposure times, temperatures and
    times. Beside the scenes there are, taken at equal steps during the run, ``dark`` frames at the exposure
    times of the scenes, the points and the ``flat`` frames, which are of the laser's uniform light at half
    the exposure time; and before it, two flat frames at each of ``levels`` rising exposure times (for
    linearity and photon transfer) and ``points`` frames of one bright pixel in the middle of a dark scene,
    exposed until it fills half of the camera's range.

    Frames are taken and written ``chunk`` by ``chunk``; the file appears when it is whole. The same device
    and arguments give the same bytes.

    Args:
        device: what stands on the bench.
        scenes: [n, 1, y, x], floating point in [0, 1] or uint8 with white at 255.
        path: the file to write.
        labels: class [n], or classes of the pixels [n, y, x], if they are known.
        names: identifiers of the scenes, [n]; scenes of the same name tell the drift.
        dark, flat, levels, points: numbers of frames as above; 0 leaves them out (``levels``: or 3 and more).
        interval: time from one scene to the next in s.
        start: when the run starts, in s since 1970; the bench was aligned at that moment.
        exposure: number of the measurement; another one sees other noise.
        seconds: exposure time of the scenes, such as `choose_exposure` finds; by default the camera's.
        notes: for the file.
        chunk: scenes at once; each chunk has noise of its own, so another number is another measurement.

    Raises:
        InvalidArgument: scenes that no display can show, lengths that do not match, or a path that cannot be
            written.

    Example:
        >>> import tempfile
        >>> from photonet.design import kernels_to_masks
        >>> from photonet.measured import MeasuredData, make_devices, run_bench
        >>> kernel = torch.zeros(1, 1, 3, 3)
        >>> kernel[0, 0, 1, 2], kernel[0, 0, 1, 0] = 1.0, -1.0
        >>> design = kernels_to_masks(kernel, wavelength=525e-9, distance=0.3e-3, pitch=1e-6, pixel=6,
        ...                           samples=42, steps=40)
        >>> device = make_devices(design, {"height": [0.05], "warming": [2.0]}, [7])[0]
        >>> path = Path(tempfile.mkdtemp()) / "device-7.h5"
        >>> run_bench(device, torch.rand(20, 1, 12, 12), path)
        >>> with MeasuredData(path) as data:
        ...     print(data.scenes, data.flat)
        <Frames scenes (20, 24, 12)> <Frames flat (52, 24, 12)>
    """
    counts = {"dark": dark, "flat": flat, "levels": levels, "points": points}
    for name, value in counts.items():
        checks.count(name, value, least=0)
    if 0 < levels < 3:
        raise InvalidArgument("levels", "0, or 3 and more", levels)
    checks.count("chunk", chunk)
    checks.positive("interval", interval, "a positive time in s")
    checks.real("start", start, "a time in s")
    if not isinstance(scenes, torch.Tensor) or scenes.ndim != 4 or not len(scenes):
        raise InvalidArgument("scenes", "pictures [n, 1, y, x]", getattr(scenes, "shape", type(scenes)))
    if scenes.dtype != torch.uint8 and not scenes.is_floating_point():
        raise InvalidArgument("scenes", "floating point in [0, 1], or uint8 with white at 255", scenes.dtype)
    scenes = scenes.detach()
    camera = device.detector
    shutter = camera.exposure if seconds is None else checks.positive("seconds", seconds, "a time in s")
    path = writable(path)
    size = (scenes.shape[-2], scenes.shape[-1])
    times = torch.arange(len(scenes), dtype=torch.float64) * interval
    last = float(times[-1])

    def taken() -> Iterator[np.ndarray]:
        for index, (batch, moments) in enumerate(zip(scenes.split(chunk), times.split(chunk), strict=True)):
            frames = device.frames(batch, exposure=(exposure, index), time=moments, seconds=seconds)
            yield _grey(device, frames)

    shutters = [shutter]
    psf = _points(device, size, points, exposure, start) if points else None
    if psf is not None:
        shutters.append(psf.exposure)
    flats = _flats(device, size, flat, levels, last, exposure, start, shutter) if flat or levels else None
    if flat:
        shutters.append(FLAT_LEVEL * shutter)
    write(
        path,
        _part(
            device,
            taken(),
            shutter,
            times,
            start,
            shown=(_storable(batch) for batch in scenes.split(chunk)),
            label=labels,
            name=names,
        ),
        dark=_darks(device, size, dark, shutters, last, exposure, start) if dark else None,
        flat=flats,
        psf=psf,
        bits=camera.bits,
        saturation=camera.saturation_level,
        camera=camera.name,
        mask=f"device {device.seed}",
        wavelength=device.design.mask.wavelength,
        notes=notes,
    )


def _points(device: Device, size: tuple[int, int], count: int, exposure: int, start: float) -> Part:
    """A bright pixel in the middle, exposed as at a bench: one try, then scaled to the camera's range."""
    camera = device.detector
    scene = torch.zeros(count, 1, *size)
    scene[..., size[0] // 2, size[1] // 2] = 1.0
    trial = device.frames(scene[:1], exposure=(exposure, -2))
    factor = POINT_LEVEL * camera.saturation / max(float(camera.electrons(trial).max()), 1.0)
    seconds = camera.exposure * min(max(factor, FLAT_LEVEL), LONGEST)
    frames = device.frames(scene, exposure=(exposure, -1), seconds=seconds)
    times = torch.zeros(count, dtype=torch.float64)
    return _part(device, _grey(device, frames), seconds, times, start, position=torch.zeros(count, 2))


def _flats(
    device: Device,
    size: tuple[int, int],
    repeated: int,
    levels: int,
    last: float,
    exposure: int,
    start: float,
    shutter: float,
) -> Part:
    """Repeated frames until the time ``last``, then a series of exposure times taken at the beginning."""
    camera = device.detector
    times = torch.linspace(0, last, repeated, dtype=torch.float64)
    seconds = torch.full((repeated,), FLAT_LEVEL * shutter, dtype=torch.float64)
    frames = []
    if repeated:
        taken = device.flat_frames(size, exposure=exposure, time=times, seconds=FLAT_LEVEL * shutter)
        frames.append(_grey(device, taken))
    top = min(ABOVE_WHITE * shutter, BRIGHTEST * camera.saturation / device.light * camera.exposure)
    pair = torch.zeros(2, dtype=torch.float64)
    for level in range(1, levels + 1):
        longer = top * level / levels
        taken = device.flat_frames(size, exposure=(exposure, level), time=pair, seconds=longer)
        frames.append(_grey(device, taken))
        times, seconds = torch.cat([times, pair]), torch.cat([seconds, pair + longer])
    return _part(device, iter(frames), seconds, times, start)


def _darks(
    device: Device,
    size: tuple[int, int],
    count: int,
    seconds: list[float],
    last: float,
    exposure: int,
    start: float,
) -> Part:
    """Frames without light until the time ``last``, at each of the exposure times."""
    times = torch.linspace(0, last, count, dtype=torch.float64)
    frames = (
        _grey(device, device.dark_frames(size, exposure=(exposure, index), time=times, seconds=longer))
        for index, longer in enumerate(seconds)
    )
    exposures = torch.tensor(seconds, dtype=torch.float64).repeat_interleave(count)
    return _part(device, frames, exposures, times.repeat(len(seconds)), start)


def _part(device: Device, data: Any, exposure: Any, times: torch.Tensor, start: float, **more: Any) -> Part:
    """A group with what the bench's thermometer and clock say."""
    return Part(data, exposure, temperature=device.temperature(times), time=start + times, **more)


def _storable(scenes: torch.Tensor) -> torch.Tensor:
    return scenes if scenes.dtype == torch.uint8 else scenes.float()


def _grey(device: Device, frames: torch.Tensor) -> np.ndarray:
    """Whole grey values in the smallest type that holds the camera's bits."""
    return frames.cpu().numpy().astype(np.uint16 if device.detector.bits <= 16 else np.uint32)
