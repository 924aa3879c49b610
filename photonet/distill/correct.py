"""`correct`: after fabrication the optics are fixed; a little measured data re-aligns the backend."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..measured.features import Measured
from ..measured.register import Registration
from ..nn import HybridNetwork, OpticalConv2d
from ..provenance import provenance
from . import losses
from .calibrate import fit_full_map, fit_ridge_map, merge_into_backend
from .config import METHODS, TrainConfig
from .teacher import teacher_targets
from .terms import KD, Term, needs
from .trainer import Samples, accuracy, fit, predict
from .twin import fit_twin, moved_scenes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CORRECTIONS", "Corrected", "correct"]

CORRECTIONS: dict[str, tuple[bool, str | None]] = {
    "none": (False, None),
    "calibration": (True, None),
    **{method: (False, method) for method in METHODS},
    **{f"calibration+{method}": (True, method) for method in METHODS},
    "self-kd": (False, "self-kd"),
    "calibration+self-kd": (True, "self-kd"),
    "twin": (False, "twin"),
    "auto": (True, "auto"),
}
"""Name -> whether to calibrate first, and what refines the backend."""

SELF_KD = (KD(),)
"""Distillation alone."""

HELD_OUT = 0.25
"""Fraction of the measured frames that decides whether a correction is kept."""

FINE_TUNING = TrainConfig(epochs=1, batch_size=64, lr=1e-3, weight_decay=0.05, temperature=8.0)
FINE_TUNING_STEPS = 300

TWIN_TUNING = TrainConfig(epochs=8, batch_size=128, lr=2e-3, weight_decay=0.05, temperature=8.0)
COPIES = 40
"""Moved copies of each measured scene that a twin is shown when no other scenes are given."""


@dataclass(frozen=True)
class Corrected:
    """A corrected network and how it was chosen.

    Args:
        student: the optics as they are, and the corrected backend (a copy: the original is untouched).
        kept: what was kept: ``none``, ``calibration``, or the name of the whole method.
        reason: the numbers that decided, in words.
        metrics: per candidate, agreement and loss on the held-out frames.
        history: of the fine-tuning, if there was one.
        config: settings, with the number of frames used.
    """

    student: HybridNetwork
    kept: str
    reason: str
    metrics: dict[str, float]
    history: xr.Dataset | None = None
    config: dict[str, Any] = field(default_factory=dict)


def correct(
    student: HybridNetwork,
    measured: Measured,
    *,
    teacher: nn.Module | None = None,
    fraction: float = 0.10,
    method: str = "auto",
    scenes: torch.Tensor | None = None,
    config: TrainConfig | None = None,
    seed: int = 0,
) -> Corrected:
    """Re-align the backend of a fabricated network with a fraction of measured data.

    The teacher sees the clean scenes, the backend sees the measured feature maps.

    =======================  =============================================================================
    ``calibration``          linear map from measured to simulated features, shared by all positions or of
                             the whole map, by held-out error; merged into the first dense layer; no labels
    ``ce``, ``kd``, ...      the methods of `photonet.distill` fine-tune the backend on the frames
    ``self-kd``              distillation of the network's own answers before fabrication; no labels
    ``calibration+...``      one after the other
    ``twin``                 register, fit a twin of the device, and re-train on its view of clean scenes:
                             the full linear map, then self-distillation; no labels
    ``auto``                 the best of none, calibration, calibration + self-kd and twin; no labels
    =======================  =============================================================================

    A quarter of the used frames is held out, and only what is better there is kept, or nothing: mild errors
    are made worse by fine-tuning. ``auto`` compares the divergence of the softened answers from those of the
    simulated network, which a hundred frames tell better than a count of right answers; the other
    methods compare accuracy first.

    Args:
        student: the simulated network (its frontend gives the feature maps the backend was trained for).
        measured: frames of the device.
        teacher: for the methods that distil it; ``self-kd``, ``twin`` and ``auto`` need none.
        fraction: part of ``measured`` that may be used, in (0, 1].
        method: a key of `CORRECTIONS`.
        scenes: clean scenes without labels that were not measured, [m, c, y, x], for the twin; some
            thousands. Moved copies of the measured ones otherwise.
        config: of the fine-tuning; by default about 300 steps at a learning rate of 1e-3.
        seed: chooses the frames, the held-out part and the order of samples.

    Returns:
        `Corrected`; its ``student.backend`` takes measured feature maps.

    Raises:
        UnknownName: the method does not exist.
        InvalidArgument: too few frames, labels or teacher missing for the method, or a frontend that no
            twin can be made of.

    Example:
        >>> from photonet.models import compressed_meta
        >>> student = compressed_meta()
        >>> shown = torch.rand(60, 1, 28, 28)
        >>> with torch.no_grad():
        ...     measured = Measured(shown, 0.5 * student.features(shown))  # a dim device
        >>> result = correct(student, measured, fraction=1.0, method="calibration")
        >>> result.kept, result.reason.split(',')[0]
        ('calibration', 'calibration: agreement 1 on 15 held-out frames')
    """
    calibrates, tuning = checks.lookup("method", method, CORRECTIONS)
    checks.fraction("fraction", fraction)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(measured), generator=generator).to(measured.scenes.device)
    used = measured[order[: round(fraction * len(measured))]]
    held = max(2, round(HELD_OUT * len(used)))
    if len(used) - held < 4:
        raise InvalidArgument(
            "fraction", f"at least 6 of the {len(measured)} measured frames", f"{len(used)} of them"
        )
    test, train = used[slice(0, held)], used[slice(held, None)]

    student = copy.deepcopy(student).eval()
    judge = _Judge(student, test, by_loss=method == "auto")
    candidates: dict[str, nn.Module] = {"none": student.backend}
    metrics: dict[str, float] = {}
    history = None
    wide = False
    with torch.no_grad():
        simulated = student.features(used.scenes)
    _, channels, height, width = used.features.shape
    shape = (channels, height, width)
    if calibrates:
        shared, full = (make(train.features, simulated[held:]) for make in (fit_ridge_map, fit_full_map))
        before, *errors = (
            float((m - simulated[:held]).norm() / simulated[:held].norm())
            for m in (test.features, shared(test.features), full(test.features))
        )
        metrics |= {"features/before": before, "features/shared": errors[0], "features/full": errors[1]}
        wide = errors[1] < errors[0]
        candidates["calibration"] = merge_into_backend(full if wide else shared, student.backend, shape)
    if tuning == "twin" or (tuning == "auto" and _can_have_a_twin(student)):
        candidates["twin"], found = _by_twin(student, train, scenes, seed)
        metrics |= {"registration/before": found.before, "registration/after": found.after}
    if tuning not in (None, "twin"):
        backend = copy.deepcopy(candidates["calibration" if calibrates else "none"]).requires_grad_(True)
        if tuning in ("auto", "self-kd"):
            history = _fine_tune(backend, train, test, student, SELF_KD, config, seed)
        else:
            history = _fine_tune(backend, train, test, teacher, METHODS[tuning], config, seed)
        candidates["calibration+self-kd" if tuning == "auto" else method] = backend
    scores = {name: judge(backend) for name, backend in candidates.items()}
    kept = max(scores, key=lambda name: scores[name])
    backend = candidates[kept]
    # judged on frames it had not seen; what has no training of its own may use them all afterwards
    if kept == "calibration":
        fit_map = fit_full_map if wide else fit_ridge_map
        backend = merge_into_backend(fit_map(used.features, simulated), student.backend, shape)
    elif kept == "twin":
        backend, _ = _by_twin(student, used, scenes, seed)
    for name in candidates:
        agreement, loss = judge.numbers(candidates[name])
        metrics |= {f"{name}/agreement": agreement, f"{name}/loss": loss}
    what = "loss" if method == "auto" else "agreement"
    others = ", ".join(f"{name}: {metrics[f'{name}/{what}']:.3g}" for name in candidates if name != kept)
    reason = (
        f"{kept}: {what} {metrics[f'{kept}/{what}']:.3g} on {held} held-out frames"
        f"{', against ' + others if others else ''}"
    )
    settings = {"method": method, "seed": seed, "fraction": fraction, "frames": len(used), **provenance()}
    network = HybridNetwork(student.frontend, backend.eval())
    return Corrected(network, kept, reason, metrics, history, settings)


def _can_have_a_twin(student: HybridNetwork) -> bool:
    return isinstance(student.frontend, OpticalConv2d) and student.frontend.weight.shape[1] == 1


def _by_twin(
    student: HybridNetwork,
    frames: Measured,
    scenes: torch.Tensor | None,
    seed: int,
) -> tuple[nn.Module, Registration]:
    """Fit a twin, and train the backend on what it sees of clean scenes."""
    twin, registration = fit_twin(student, frames, seed)
    generator = torch.Generator().manual_seed(seed)
    if scenes is None:
        scenes = moved_scenes(frames.scenes, COPIES, generator)
    scenes = scenes.to(frames.scenes)
    features = twin.measure(scenes, generator)
    linear = fit_full_map(features, predict(student.frontend, scenes))
    _, channels, height, width = features.shape
    backend = copy.deepcopy(merge_into_backend(linear, student.backend, (channels, height, width)))
    samples = Samples(features, None, predict(student, scenes))
    fit(
        backend.requires_grad_(True),
        samples,
        Samples(frames.features),
        SELF_KD,
        TWIN_TUNING,
        seed=seed,
        description="correcting (twin)",
    )
    return backend, registration


class _Judge:
    """Scores a backend on held-out frames: by labels where known, else by the simulated network's answers."""

    def __init__(self, student: HybridNetwork, frames: Measured, *, by_loss: bool) -> None:
        self.features, self.by_loss = frames.features, by_loss
        self.wanted = predict(student, frames.scenes)
        self.labels = frames.labels if frames.labels is not None else self.wanted.argmax(dim=1)

    def numbers(self, backend: nn.Module) -> tuple[float, float]:
        """Agreement and loss."""
        logits = predict(backend, self.features)
        if self.by_loss:
            loss = losses.kd(logits, self.wanted, temperature=1.0)
        else:
            loss = losses.cross_entropy(logits, self.labels)
        return accuracy(logits, self.labels), float(loss)

    def __call__(self, backend: nn.Module) -> tuple[float, float]:
        """The larger, the better; agreement first unless the loss alone counts."""
        agreement, loss = self.numbers(backend)
        return (-loss, agreement) if self.by_loss else (agreement, -loss)


def _fine_tune(
    backend: nn.Module,
    train: Measured,
    test: Measured,
    teacher: nn.Module | None,
    terms: tuple[Term, ...],
    config: TrainConfig | None,
    seed: int,
) -> xr.Dataset:
    wanted = needs(terms)
    if "labels" in wanted and train.labels is None:
        raise InvalidArgument("measured", "labels, which this method uses", "none", "use method='auto'")
    if teacher is None and wanted - {"labels"}:
        raise InvalidArgument("teacher", "a torch module for this method", None, "use method='auto'")
    if config is None:
        steps = max(1, len(train) // FINE_TUNING.batch_size)
        config = replace(FINE_TUNING, epochs=math.ceil(FINE_TUNING_STEPS / steps))
    samples = Samples(train.features, train.labels, **teacher_targets(teacher, train.scenes, terms))
    return fit(
        backend,
        samples,
        Samples(test.features, test.labels),
        terms,
        config,
        seed=seed,
        description="correcting",
    )
