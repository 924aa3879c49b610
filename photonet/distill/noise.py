"""Noise in the loop: at every training step the student is another device, seen by a camera.

A noise is a function ``noise(model, x, generator=...)`` that returns what the model would say as one device;
any function of that kind will do. Validation and kernels stay without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from .. import checks, fabrication
from ..data.augment import random_moves
from ..detector import Detector
from ..errors import InvalidArgument
from ..fabrication.draws import as_errors
from ..nn import DetectorLayer, MaskConv2d, OpticalConv2d, replace_optics, split_signed
from ..ntk.directions import source
from ..optics.imaging import image_by_kernels
from ..optics.phase import one_turn

__all__ = ["DeviceNoise", "MaskNoise", "Noise"]


class Noise(Protocol):
    """What runs a model as one device."""

    def __call__(self, model: nn.Module, x: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """Outputs [b, ...] for the inputs [b, ...]; whatever is random comes from the generator."""
        ...


@dataclass(frozen=True)
class DeviceNoise:
    """Devices of a network with one or several `OpticalConv2d` in front, in the terms of their kernels.

    The published model of a fabricated encoder (Eq. 10 of arXiv 2508.08421): the brightness of each capture,
    a misregistration of the image on the sensor, an additive error of the kernels, and the sensor. Positive
    and negative captures are taken apart, as light cannot be negative. Optics side by side have errors of
    their own.

    Args:
        gain: standard deviation of the captures' relative brightness.
        shift: largest displacement of the feature maps along each axis, in features.
        rotation: their largest rotation in rad.
        kernel: error of the point spread functions, independent in every pixel, as a standard deviation in
            units of the root mean square of each; what would be negative is dark, which makes sparse kernels
            brighter (by about 3 % for 0.1, and 10 % for 0.3).
        camera: `photonet.detector.Detector` that reads the captures (shot and read noise, full well,
            converter), exposed so that a white scene in all the light of a capture fills 80 % of its range;
            None for an ideal one. It reads each feature as one pixel, binned before the readout.
        frames: readings that are averaged in each feature: exposures; and where a bench reads every pixel and
            averages b x b of them, b * b.

    Raises:
        InvalidArgument: a negative number, something that is no camera, or a model of another kind.

    Example:
        >>> from photonet.models import compressed_meta
        >>> noise = DeviceNoise(gain=0.1, shift=0.3, kernel=0.2)
        >>> x, generator = torch.rand(2, 1, 28, 28), torch.Generator().manual_seed(0)
        >>> noise(compressed_meta(), x, generator=generator).shape
        torch.Size([2, 10])
    """

    gain: float = 0.1
    shift: float = 0.25
    rotation: float = 0.0
    kernel: float = 0.1
    camera: Detector | None = None
    frames: int = 1

    def __post_init__(self) -> None:
        for name in ("gain", "shift", "rotation", "kernel"):
            checks.non_negative(name, getattr(self, name))
        if self.camera is not None:
            checks.instance("camera", self.camera, Detector, "a photonet.detector.Detector, or None")
        checks.count("frames", self.frames)

    def __call__(self, model: nn.Module, x: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """Outputs of one device; the same errors for all samples, exposures of their own."""
        frontend, backend = _parts(model, OpticalConv2d)
        outputs: torch.Tensor = backend(self.make(frontend, generator=generator)(x))
        return outputs

    def make(self, frontend: nn.Module, *, generator: torch.Generator) -> nn.Module:
        """One device of a frontend: each `OpticalConv2d` in it has errors of its own.

        Args:
            frontend: an `OpticalConv2d`, or modules with some among them; the weights stay its own.
            generator: of the errors, and of the exposures that the device will see.

        Returns:
            A module from scenes to feature maps, as the frontend is; every call is another exposure.

        Raises:
            InvalidArgument: no `OpticalConv2d` in it.

        Example:
            >>> from photonet.nn import OpticalConv2d
            >>> device = DeviceNoise().make(OpticalConv2d(1, 4, 3), generator=torch.Generator())
            >>> device(torch.rand(2, 1, 8, 8)).shape
            torch.Size([2, 4, 8, 8])
        """
        if not any(isinstance(part, OpticalConv2d) for part in frontend.modules()):
            raise InvalidArgument("frontend", "a module with an OpticalConv2d", type(frontend).__name__)
        source(generator, "the errors of a device")
        return replace_optics(frontend, lambda layer: _Made(layer, self, generator))


class _Made(nn.Module):
    """An `OpticalConv2d` with the errors of one device."""

    def __init__(self, layer: OpticalConv2d, errors: DeviceNoise, generator: torch.Generator) -> None:
        super().__init__()
        self.layer, self.errors = layer, errors
        self.seed, exposures = torch.randint(2**62, (2,), generator=generator).tolist()
        self.camera = (
            None
            if errors.camera is None
            else DetectorLayer(errors.camera, frames=errors.frames, seed=exposures)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Signed feature maps; the errors are drawn again each time, and are the same."""
        errors, generator = self.errors, torch.Generator().manual_seed(self.seed)
        psf, gain = split_signed(self.layer.weight)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(x)

        size = psf.square().mean(dim=(-3, -2, -1), keepdim=True).sqrt()
        psf = (psf + errors.kernel * size * draw(*psf.shape)).clamp(min=0)
        captures = image_by_kernels(x, psf.flatten(0, 1), self.layer.binning)
        bright = (1 + errors.gain * draw(captures.shape[1], 1, 1)).clamp(min=0)
        limits = {"rotation": errors.rotation, "scale": 0.0, "shift": errors.shift}
        moves = random_moves(1, (captures.shape[2], captures.shape[3]), generator, **limits).to(x)
        captures = bright * captures
        if errors.shift or errors.rotation:
            where = F.affine_grid(moves.expand(len(x), -1, -1), list(captures.shape), align_corners=False)
            captures = F.grid_sample(captures, where, align_corners=False)
        if self.camera is not None:
            captures = self.camera(captures)
        positive, negative = (captures.unflatten(1, (2, -1)) * gain[..., None, None]).unbind(1)
        return positive - negative


@dataclass(frozen=True)
class MaskNoise:
    """Devices of a network whose frontend is a `MaskConv2d`: the errors act on the relief of its masks.

    Exact where the layer has one wavelength: a relief is deeper than one turn of the phase only by its
    error, and is wrapped.

    Args:
        errors: of `photonet.fabrication` that act on a height, such as `HeightError`.
        levels: of the relief within a turn of the phase, as a process with few etch steps leaves them, before
            the errors; the gradient passes as if nothing had been rounded. None for any height.

    Raises:
        InvalidArgument: fewer than two levels, an error that a relief does not have, or a model of another
            kind.

    Example:
        >>> from photonet import Grid
        >>> from photonet.nn import HybridNetwork
        >>> masks = MaskConv2d(2, grid=Grid(24, 1e-6), wavelength=525e-9, distance=0.3e-3, pixel=6, binning=4)
        >>> network = HybridNetwork(masks, nn.Sequential(nn.Flatten(), nn.Linear(8, 3)))
        >>> noise = MaskNoise([fabrication.HeightError(systematic=0.03)])
        >>> noise(network, torch.rand(5, 1, 8, 8), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3])
    """

    errors: Sequence[fabrication.FabricationError] = ()
    levels: int | None = None

    def __post_init__(self) -> None:
        as_errors(self.errors)
        if self.levels is not None:
            checks.count("levels", self.levels, least=2)

    def __call__(self, model: nn.Module, x: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """Outputs of one device: every mask of it is made once, with what is systematic in common."""
        frontend, backend = _parts(model, MaskConv2d)
        if not isinstance(frontend, MaskConv2d):
            got = type(frontend).__name__
            raise InvalidArgument("student", "a MaskConv2d that is the whole frontend", got)
        phase = frontend.phase
        per_metre = 2 * torch.pi / frontend.turn_height
        if self.levels is None:
            wrapped = one_turn(phase)
        else:
            wrapped = fabrication.quantize_phase(phase, self.levels, straight_through=True)
        height = wrapped.double() / per_metre  # in double precision, as lengths in m are small
        shape, pitch = tuple(height.shape), frontend.grid.pitch
        designed = fabrication.Geometry(shape=shape, pitch=pitch, height=height)
        made = fabrication.fabricate(designed, self.errors, seed=source(generator, "the errors of a device"))
        relief = made.required("height", self) * per_metre
        features = torch.func.functional_call(frontend, {"phase": relief.to(phase)}, (x,))
        outputs: torch.Tensor = backend(features)
        return outputs


def _parts(model: nn.Module, kind: type[nn.Module]) -> tuple[Any, nn.Module]:
    """Frontend and backend of a network that has such a layer in front."""
    frontend, backend = getattr(model, "frontend", None), getattr(model, "backend", None)
    fits = isinstance(frontend, nn.Module) and any(isinstance(part, kind) for part in frontend.modules())
    if not fits or not isinstance(backend, nn.Module):
        got = type(model).__name__ if frontend is None else f"{type(frontend).__name__} as frontend"
        raise InvalidArgument("student", f"a HybridNetwork with a {kind.__name__} for this noise", got)
    return frontend, backend
