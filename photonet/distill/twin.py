"""A twin of a measured device: its geometry, kernels, response and pixels, fitted to a few frames."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..measured.features import Measured
from ..measured.lab import warp
from ..measured.orientation import orient
from ..measured.register import Registration, register
from ..nn import HybridNetwork, MaskConv2d, OpticalConv2d, merge_signed, split_signed
from ..optics.imaging import image_by_kernels

__all__ = [
    "Displaced",
    "Twin",
    "captures",
    "displaced_scenes",
    "fit_twin",
    "moved_scenes",
    "register_bench",
    "with_margin",
]

REGISTERED = 100
"""Frames that are enough to register: errors of the model, not noise, limit it beyond."""

MARGIN = 1
"""Pixels around the designed kernels: room to turn them, and for crosstalk and blur."""

BLOCK = 256
"""Scenes that are displaced or seen at a time."""

STEPS = 300
BATCH = 32
RATES = {
    "kernels": 1.5e-3,
    "response": 5e-2,
    "falloff": 5e-2,
    "stray": 5e-3,
    "gain": 1.5e-2,
    "offset": 1.5e-3,
}
"""Peak learning rates of Adam: a tenth or so of each quantity's own size over the whole descent."""

SHRINKAGE = 1e-3
"""Of the kernels and the gains towards the design: a feature that tells nothing keeps what was designed."""


def captures(frontend: nn.Module) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Point spread functions [2, k, c, y, x], digital gains [2, k] and binning of an optical frontend.

    Raises:
        InvalidArgument: it is neither an `OpticalConv2d` nor a `MaskConv2d`.

    Example:
        >>> from photonet.nn import OpticalConv2d
        >>> [tuple(part.shape) for part in captures(OpticalConv2d(3, 8, 7, binning=4))[:2]]
        [(2, 8, 3, 7, 7), (2, 8)]
    """
    if isinstance(frontend, OpticalConv2d):
        return *split_signed(frontend.weight.detach()), frontend.binning
    if isinstance(frontend, MaskConv2d):
        with torch.no_grad():
            return frontend.psf(), frontend.gain.detach(), frontend.binning
    raise InvalidArgument("frontend", "an OpticalConv2d or a MaskConv2d", type(frontend).__name__)


def register_bench(student: HybridNetwork, frames: Measured) -> Registration:
    """`photonet.measured.register` of a device's feature maps against its simulation.

    The two captures of every kernel are told apart, and each feature map may hold light of all of them:
    otherwise crosstalk would pass for a displacement.

    Args:
        student: with an `OpticalConv2d` or a `MaskConv2d` in front.
        frames: measured feature maps and their scenes; the first hundred are used.

    Raises:
        InvalidArgument: another frontend, or maps without contrast.
        GridMismatch: maps of another size than the frontend's.
    """
    checks.instance("student", student, HybridNetwork, "a HybridNetwork: a frontend and a backend")
    psf, _, binning = captures(student.frontend)
    some = frames[slice(0, REGISTERED)]
    maps = image_by_kernels(some.scenes, psf.flatten(0, 1))
    return register(maps, some.features, binning=binning, crosstalk=True)


class Displaced(nn.Module):
    """The design's feature maps as a displaced bench shows them: what a calibrated device sees.

    Args:
        student: with an `OpticalConv2d` or a `MaskConv2d` in front.
        registration: the geometry of the bench.
        scene: (y, x) of the scenes.

    Shape:
        [n, c, y, x] -> [n, k, y / binning, x / binning].
    """

    kernels: torch.Tensor
    geometry: torch.Tensor

    def __init__(self, student: HybridNetwork, registration: Registration, scene: tuple[int, int]) -> None:
        super().__init__()
        psf, gain, binning = captures(student.frontend)
        self.register_buffer("kernels", merge_signed(psf, gain))
        self.register_buffer("geometry", _geometry(registration, scene, binning, psf))
        self.maps = tuple(n // binning for n in scene)

    def forward(self, scenes: torch.Tensor) -> torch.Tensor:
        """Displaced feature maps of the scenes."""
        return (image_by_kernels(scenes, self.kernels).flatten(2) @ self.geometry).unflatten(2, self.maps)


def _geometry(
    registration: Registration, scene: tuple[int, int], binning: int, like: torch.Tensor
) -> torch.Tensor:
    """Displacement and binning of any picture as one matrix [samples, bins]."""
    pixels = torch.eye(scene[0] * scene[1], dtype=like.dtype, device=like.device)
    return F.avg_pool2d(registration.apply(pixels.reshape(-1, 1, *scene)), binning).flatten(1)


def with_margin(psf: torch.Tensor) -> torch.Tensor:
    """Kernels [2 k, c, y, x] of both captures, with a margin around them."""
    return F.pad(psf.flatten(0, 1), (MARGIN,) * 4)


def displaced_scenes(scenes: torch.Tensor, registration: Registration, kernels: torch.Tensor) -> torch.Tensor:
    """The scenes as a bench displaces them, with what surrounds them and reaches the sensor by the kernels.

    Args:
        scenes: [n, c, y, x].
        registration: the geometry of the bench.
        kernels: [..., v, u], for their size.

    Returns:
        [n, c, y + 2 (v // 2), x + 2 (u // 2)].
    """
    y, x = (n // 2 for n in kernels.shape[-2:])
    oriented = orient(scenes, registration.orientation)
    return torch.cat([registration.move(F.pad(batch, (x, x, y, y))) for batch in oriented.split(BLOCK)])


class Twin(nn.Module):
    r"""Feature maps as a device gives them: light, geometry, response, bins and gains.

    .. math:: z = \sum_\pm \pm\, g_\pm\, B\, \frac{\tanh(\sigma\, G_\pm (V\, K_\pm * Wx + S_\pm))}{\sigma} + O

    W displaces the scene as the bench does its image (the kernels are found on the sensor, so they are turned
    and enlarged as well), V darkens towards the corners, S is stray light, G a gain of each capture in each
    bin, :math:`\sigma` the sensor's saturation, B bins, :math:`g_\pm` are the digital gains and O an offset
    of each feature.

    Args:
        student: with an `OpticalConv2d` or a `MaskConv2d` in front, for any number of colours.
        registration: the geometry of the bench.
        scene: (y, x) of the scenes.

    Shape:
        [n, c, y, x] -> [n, k, y / binning, x / binning].

    Raises:
        InvalidArgument: another frontend.
    """

    design: torch.Tensor
    digital: torch.Tensor
    distance: torch.Tensor
    noise: torch.Tensor

    def __init__(self, student: HybridNetwork, registration: Registration, scene: tuple[int, int]) -> None:
        super().__init__()
        psf, digital, self.binning = captures(student.frontend)
        self.registration = registration
        maps = (psf.shape[1], *(n // self.binning for n in scene))
        # `warp` keeps the light of a picture: of the kernel's here, of the scene's in `displaced_scenes`
        self.register_buffer("design", registration.turn(with_margin(psf)))
        self.register_buffer("digital", digital[..., None, None])
        y, x = (torch.arange(n).to(psf) - n // 2 for n in scene)
        squares = y[:, None].square() + x.square()
        self.register_buffer("distance", squares / squares.max().clamp_min(1))  # 1 in the corner
        self.kernels = nn.Parameter(self.design.clone())
        self.response = nn.Parameter(psf.new_zeros(()))  # log sigma
        self.falloff = nn.Parameter(psf.new_zeros(()))
        self.stray = nn.Parameter(psf.new_zeros(len(self.design), 1, 1))
        self.gain = nn.Parameter(psf.new_zeros(len(self.design), *maps[1:]))  # logarithm
        self.offset = nn.Parameter(psf.new_zeros(maps))
        self.register_buffer("noise", psf.new_zeros(maps))

    def forward(self, scenes: torch.Tensor) -> torch.Tensor:
        """Expected feature maps, without noise."""
        return self.read(displaced_scenes(scenes, self.registration, self.kernels))

    def read(self, displaced: torch.Tensor) -> torch.Tensor:
        """Feature maps of displaced scenes."""
        y, x = self.distance.shape
        # the axis is sample n // 2: an even kernel leaves one sample too many, before it
        images = F.conv2d(displaced, self.kernels.flip(-2, -1))[..., -y:, -x:]
        light = images * torch.exp(-self.falloff * self.distance) + self.stray
        sigma, gain = self.response.exp(), self.gain.exp()
        for axis in (1, 2):
            gain = gain.repeat_interleave(self.binning, axis)
        seen = F.avg_pool2d(torch.tanh(sigma * gain * light) / sigma, self.binning)
        maps = seen.unflatten(1, (2, -1)) * self.digital
        out: torch.Tensor = maps[:, 0] - maps[:, 1] + self.offset
        return out

    def measure(self, displaced: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Feature maps with the noise that the device showed, Gaussian and independent.

        Args:
            displaced: as `displaced_scenes` gives them for this registration and these kernels.
            generator: of the noise, on the CPU.
        """
        with torch.no_grad():
            clean = torch.cat([self.read(batch) for batch in displaced.split(BLOCK)])
        drawn = torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)
        return clean + self.noise * drawn

    def fit(self, frames: Measured, generator: torch.Generator) -> Self:
        """Least squares on measured frames, by Adam; shrunk towards the design. Returns the twin itself."""
        groups = [{"params": [getattr(self, name)], "lr": rate} for name, rate in RATES.items()]
        optimizer = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        displaced = displaced_scenes(frames.scenes, self.registration, self.kernels)
        power = frames.features.var(dim=(0, 2, 3), keepdim=True).clamp_min(1e-12)
        size = self.design.square().sum()
        for _ in range(STEPS):
            batch = torch.randperm(len(frames), generator=generator)[:BATCH].to(displaced.device)
            misfit = (self.read(displaced[batch]) - frames.features[batch]).square() / power
            bent = (self.kernels - self.design).square().sum() / size + self.gain.square().mean()
            loss = misfit.mean() + SHRINKAGE * (bent + (self.offset.square() / power).mean())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            left = torch.cat([self.read(batch) for batch in displaced.split(BLOCK)]) - frames.features
            self.noise.copy_(left.square().mean(dim=(0, 2, 3), keepdim=True)[0].sqrt().expand_as(self.noise))
        return self.requires_grad_(False)


def fit_twin(
    student: HybridNetwork, frames: Measured, seed: int = 0, registration: Registration | None = None
) -> tuple[Twin, Registration]:
    """Register a device against its simulation, then fit a twin to its frames; labels are not used.

    Args:
        student: with an `OpticalConv2d` or a `MaskConv2d` in front.
        frames: measured feature maps and their scenes.
        seed: of the order of the frames.
        registration: if it is known already.

    Returns:
        The twin, and the registration with its residual before and after.

    Raises:
        InvalidArgument: another frontend.

    Example:
        >>> from photonet.models import compressed_meta
        >>> student, scenes = compressed_meta(kernels=2, kernel_size=3), torch.rand(8, 1, 28, 28)
        >>> with torch.no_grad():
        ...     frames = Measured(scenes, 0.8 * student.features(scenes))
        >>> twin, registration = fit_twin(student, frames)
        >>> abs(registration.shift_x) < 0.01, twin(scenes).shape
        (True, torch.Size([8, 2, 7, 7]))
    """
    checks.instance("student", student, HybridNetwork, "a HybridNetwork: a frontend and a backend")
    checks.instance("frames", frames, Measured, "Measured scenes and feature maps")
    if registration is None:
        registration = register_bench(student, frames)
    height, width = frames.scenes.shape[-2:]
    twin = Twin(student, registration, (height, width)).to(frames.features)
    return twin.fit(frames, torch.Generator().manual_seed(seed)), registration


def moved_scenes(scenes: torch.Tensor, copies: int, generator: torch.Generator) -> torch.Tensor:
    """The scenes, and copies that are turned, zoomed and displaced a little: stand-ins for unseen ones.

    Args:
        scenes: [n, c, y, x].
        copies: how many, each moved by one draw (0.25 rad, 15 %, 2 samples at most).
        generator: source of the draws, on the CPU.

    Example:
        >>> moved_scenes(torch.rand(3, 1, 8, 8), 4, torch.Generator().manual_seed(0)).shape
        torch.Size([15, 1, 8, 8])
    """
    limits = torch.tensor([0.25, 0.15, 2.0, 2.0])
    draws = limits * (2 * torch.rand(copies, 4, generator=generator) - 1)
    return torch.cat([scenes, *(warp(scenes, *draw).clamp(0, 1) for draw in draws)])
