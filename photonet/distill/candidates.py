"""The ways to correct a backend, made from some frames: what several of them share is made once."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from ..errors import InvalidArgument
from ..measured.features import Measured
from ..measured.register import Registration
from ..nn import HybridNetwork
from .calibrate import InFront, fit_full_map, fit_ridge_map, fit_wiener_map, merge_into_backend
from .config import METHODS, TrainConfig
from .gauss_newton import gauss_newton
from .judge import TEMPERATURE
from .kernels import fit_kernels, unknowns
from .local import fit_local_map
from .nonlinear import NonlinearMap, fit_nonlinear_map
from .samples import Samples, predict
from .teacher import teacher_targets
from .terms import KD, Term
from .trainer import fit
from .twin import BLOCK, Displaced, captures, displaced_scenes, fit_twin, moved_scenes, with_margin

__all__ = ["MAPS", "Calibration", "Setting", "Workshop"]

MAPS: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], nn.Module] | None, bool]] = {
    "shared": (fit_ridge_map, False),
    "local": (fit_local_map, False),
    "full": (fit_full_map, False),
    "nonlinear": (fit_nonlinear_map, False),
    "registered shared": (fit_ridge_map, True),
    "registered kernels": (None, True),
    "registered nonlinear": (fit_nonlinear_map, True),
}
"""Name of a calibration -> how its map is fitted, and whether the bench is registered first.

Without a map the device's own kernels are found, and undone together with its geometry.
"""

SELF_KD: tuple[Term, ...] = (KD(),)
"""Distillation of the network's own answers before fabrication."""

FINE_TUNING = TrainConfig(epochs=1, batch_size=64, lr=3e-3, weight_decay=0.05, temperature=TEMPERATURE)
FINE_TUNING_STEPS = 300
FEWEST_PASSES = 10
"""Over the frames: with thousands of them, 300 steps would not see each one often enough."""

CORRECTED_RATE = 1e-3
"""Learning rate after a calibration or another step, when little is left to learn."""

TWIN_TUNING = TrainConfig(epochs=8, batch_size=128, lr=3e-3, weight_decay=0.05, temperature=TEMPERATURE)
COPIES = 3
"""Moved versions of every clean scene that the twin is shown besides."""

MOST_SCENES = 5000
FEWEST_SCENES = 4000
"""Moved copies of the measured scenes are made up to this number when no other scenes are given."""


MOST_FEATURES = 5000
"""Of a scene, for maps of all its features and for polynomials of its neighbourhoods."""

MOST_UNKNOWNS = 2500
"""Of a device's kernel: beyond, its decomposition takes minutes."""


@dataclass(frozen=True)
class Setting:
    """What all candidates are made for, and the clean scenes they share (which no measurement enters).

    Args:
        student: the simulated network.
        shown: the scenes that were measured.
        registration: the geometry of the bench, or None where it cannot be known.
        scenes: clean scenes that were not measured; moved copies of the measured ones if None.
        teacher: of the methods that distil one.
        config: of fine-tuning, or None.
        seed: of the order of samples.
    """

    student: HybridNetwork
    shown: torch.Tensor
    registration: Registration | None = None
    scenes: torch.Tensor | None = None
    teacher: nn.Module | None = None
    config: TrainConfig | None = None
    seed: int = 0
    _arrived: dict[torch.Size, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def maps(self) -> list[str]:
        """Calibrations that can be fitted."""
        return [
            name
            for name, (_, moved) in MAPS.items()
            if name not in self.left_out and (self.registration is not None or not moved)
        ]

    @functools.cached_property
    def left_out(self) -> dict[str, str]:
        """Calibrations that would need too much memory or time, and why."""
        with torch.no_grad():
            features = self.student.features(self.shown[:1]).numel()
        if features > MOST_FEATURES:
            why = f"a scene has {features} features, more than {MOST_FEATURES}"
            return {name: why for name in MAPS if name != "shared"}
        if self.registration is not None and unknowns(self.student) > MOST_UNKNOWNS:
            why = f"a kernel has {unknowns(self.student)} unknowns, more than {MOST_UNKNOWNS}"
            return {"registered kernels": why}
        return {}

    def view(self, moved: bool) -> nn.Module:
        """Clean scenes to features: the student's frontend, or the same on the displaced bench."""
        return self.displaced if moved and self.displaced is not None else self.student.frontend

    @functools.cached_property
    def displaced(self) -> Displaced | None:
        """The frontend on the registered bench."""
        if self.registration is None:
            return None
        height, width = self.shown.shape[-2:]
        return Displaced(self.student, self.registration, (height, width))

    @functools.cached_property
    def clean(self) -> torch.Tensor:
        """[m, c, y, x]."""
        if self.scenes is not None:
            return self.scenes[:MOST_SCENES].to(self.shown)
        copies = math.ceil(FEWEST_SCENES / len(self.shown))
        moved = moved_scenes(self.shown, copies, torch.Generator().manual_seed(self.seed))
        return moved[:MOST_SCENES]

    @functools.cached_property
    def clean_simulated(self) -> torch.Tensor:
        """Simulated features of the clean scenes."""
        return predict(self.student.frontend, self.clean)

    @functools.cached_property
    def clean_displaced(self) -> torch.Tensor:
        """The same on the displaced bench."""
        return predict(self.view(True), self.clean)

    def clean_at(self, kernels: torch.Tensor) -> torch.Tensor:
        """The clean scenes as they arrive on the bench's sensor, with what kernels of this size see."""
        size = kernels.shape[-2:]
        if size not in self._arrived:
            self._arrived[size] = displaced_scenes(self.clean, self.known_registration, kernels)
        return self._arrived[size]

    @property
    def guide(self) -> nn.Module:
        """Who knows the answers: the teacher, or else the student before it was made."""
        return self.student if self.teacher is None else self.teacher

    @functools.cached_property
    def lessons(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scenes that the twin is shown, on the registered bench, and the guide's answers to them."""
        registration, scenes = self.known_registration, self.clean
        if self.scenes is not None:  # otherwise they are moved copies already
            scenes = moved_scenes(scenes, COPIES, torch.Generator().manual_seed(self.seed))
        kernels = with_margin(captures(self.student.frontend)[0])
        return displaced_scenes(scenes, registration, kernels), predict(self.guide, scenes)

    @property
    def known_registration(self) -> Registration:
        """The geometry of the bench, for what cannot do without."""
        if self.registration is None:
            raise InvalidArgument("registration", "that of the bench, for this method", None)
        return self.registration


@dataclass(frozen=True)
class Calibration:
    """From measured features to simulated ones.

    Args:
        map: fitted to the frames; on a registered bench to what the displaced simulation gives. None where
            all is undone at once.
        undo: linear, takes the displacement back; None where there is none.
        shape: [c, y, x] between the two.
    """

    map: nn.Module | None
    undo: nn.Module | None
    shape: tuple[int, int, int]

    def features(self, measured: torch.Tensor) -> torch.Tensor:
        """Estimates of the simulated feature maps."""
        for part in (self.map, self.undo):
            if part is not None:
                measured = part(measured)
        return measured

    def in_front_of(self, backend: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
        """The backend for measured features [k, y, x], linear maps merged into its first layer."""
        if self.undo is not None:
            backend = merge_into_backend(self.undo, backend, self.shape)
        if self.map is None:
            return backend
        if isinstance(self.map, NonlinearMap):
            return InFront(self.map, backend)
        return merge_into_backend(self.map, backend, shape)


class Workshop:
    """Makes corrected backends from measured frames.

    Args:
        setting: what they are for.
        frames: what they are made from.
    """

    def __init__(self, setting: Setting, frames: Measured) -> None:
        self.setting, self.frames = setting, frames
        self.answers = predict(setting.student, frames.scenes)
        self._calibrations: dict[str, Calibration] = {}
        self._backends: dict[tuple[str, str], nn.Module] = {}

    def calibration(self, name: str) -> Calibration:
        """One of `MAPS`, fitted once."""
        if name not in self._calibrations:
            fit_map, moved = MAPS[name]
            self._calibrations[name] = self._of_kernels() if fit_map is None else self._fit(fit_map, moved)
        return self._calibrations[name]

    def backend(self, method: str, chosen: str) -> nn.Module:
        """A backend by one of `candidates_of`, made once; ``chosen`` is the calibration where it uses one."""
        if method == "none":
            return self.setting.student.backend
        if (method, chosen) not in self._backends:
            before, _, step = method.rpartition("+")
            self._backends[method, chosen] = self._after(self.backend(before or "none", chosen), step, chosen)
        return self._backends[method, chosen]

    def _after(self, start: nn.Module, step: str, chosen: str) -> nn.Module:
        """What a step makes of a backend."""
        if step == "twin":
            return self._by_twin()
        if step == "calibration":
            _, channels, height, width = self.frames.features.shape
            return self.calibration(chosen).in_front_of(start, (channels, height, width))
        if step == "gauss-newton":
            return gauss_newton(start, self.frames.features, self.answers)
        return self._fine_tuned(start, step)

    def _fit(self, fit_map: Callable[[torch.Tensor, torch.Tensor], nn.Module], moved: bool) -> Calibration:
        setting, frames = self.setting, self.frames
        wanted = predict(setting.view(moved), frames.scenes)
        found, undo = fit_map(frames.features, wanted), None
        if moved:
            left = wanted - predict(found, frames.features)
            noise = left.square().mean(dim=(0, 2, 3)).sqrt()
            undo = fit_wiener_map(setting.clean_displaced, setting.clean_simulated, noise)
        _, channels, height, width = wanted.shape
        return Calibration(found, undo, (channels, height, width))

    def _of_kernels(self) -> Calibration:
        setting = self.setting
        twin = fit_kernels(setting.student, self.frames, setting.known_registration)
        with torch.no_grad():
            seen = torch.cat([twin.read(batch) for batch in setting.clean_at(twin.kernels).split(BLOCK)])
        undo = fit_wiener_map(seen, setting.clean_simulated, twin.noise)
        _, channels, height, width = self.frames.features.shape
        return Calibration(None, undo, (channels, height, width))

    def _by_twin(self) -> nn.Module:
        setting = self.setting
        twin, _ = fit_twin(setting.student, self.frames, setting.seed, setting.registration)
        displaced, answers = setting.lessons
        seen = twin.measure(displaced, torch.Generator().manual_seed(setting.seed))
        linear = fit_full_map(seen[: len(setting.clean)], setting.clean_simulated)
        _, channels, height, width = seen.shape
        start = merge_into_backend(linear, setting.student.backend, (channels, height, width))
        backend = _trainable(start)
        samples = Samples(seen, None, answers)
        held = Samples(self.frames.features)
        fit(backend, samples, held, SELF_KD, TWIN_TUNING, seed=setting.seed, description="correcting (twin)")
        return backend

    def _fine_tuned(self, start: nn.Module, tuning: str) -> nn.Module:
        frames, setting = self.frames, self.setting
        terms = SELF_KD if tuning == "self-kd" else METHODS[tuning]
        teacher = setting.student if tuning == "self-kd" else setting.teacher
        config = setting.config
        if config is None:
            steps = max(1, len(frames) // FINE_TUNING.batch_size)
            rate = FINE_TUNING.lr if start is setting.student.backend else CORRECTED_RATE
            passes = max(FEWEST_PASSES, math.ceil(FINE_TUNING_STEPS / steps))
            config = replace(FINE_TUNING, epochs=passes, lr=rate)
        samples = Samples(frames.features, frames.labels, **teacher_targets(teacher, frames.scenes, terms))
        backend = _trainable(start)
        held = Samples(frames.features[:1], None if frames.labels is None else frames.labels[:1])
        fit(backend, samples, held, terms, config, seed=setting.seed, description="correcting")
        return backend


def _trainable(start: nn.Module) -> nn.Module:
    """A copy that can be trained, but for a map in front of it."""
    backend = copy.deepcopy(start).train()
    return backend.trainable() if isinstance(backend, InFront) else backend.requires_grad_(True)
