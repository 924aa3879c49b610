"""`correct`: after fabrication the optics are fixed; a little measured data re-aligns the backend."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..errors import InvalidArgument
from ..measured.features import Measured
from ..measured.register import Registration
from ..nn import HybridNetwork
from ..provenance import provenance
from .candidates import Setting, Workshop
from .chain import candidates_of, uses_labels
from .config import TrainConfig
from .frames import check_needs, check_order, clean_scenes, for_student, usable_frames
from .inputs import check_guide, same_outputs
from .judge import folds, frame_divergence, simplest, unlikelihood
from .samples import accuracy, labelled_samples, predict
from .twin import captures, register_bench

__all__ = ["Corrected", "correct"]

NEGLIGIBLE = 0.01
"""Relative error of feature maps that changes no decision: simpler maps are not left for less."""

MOST_PIXELS = 64 * 64
"""Of a scene that is registered: beyond, the matrix of its displacement does not fit into memory."""


@dataclass(frozen=True, eq=False, repr=False)
class Corrected:
    """A corrected network and how it was chosen.

    Args:
        student: the optics as they are, and the corrected backend (a copy: the original is untouched).
        kept: what was kept: the method, one of the steps before its last, or ``none``.
        reason: the numbers that decided, in words, and what was left out because it does not fit.
        metrics: mean loss and agreement of each candidate on held-out frames, relative error of the feature
            maps before and after each calibration that was tried, residual of the registration.
        calibration: name of the map, see `photonet.distill.candidates.MAPS`; empty if there was none.
        registration: geometry of the bench with its residual before and after, where it was estimated.
        config: settings, with the number of frames used.
    """

    student: HybridNetwork
    kept: str
    reason: str
    metrics: dict[str, float]
    calibration: str = ""
    registration: Registration | None = None
    config: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Corrected {self.reason}>"


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

    ========================  ============================================================================
    ``calibration``           map from measured to simulated features: linear and shared by all positions,
                              linear of each position or of the whole map, or nonlinear; with or without
                              registration of the bench first; the one with the least error on held-out
                              frames. No labels.
    ``ce``, ``kd``, ...       the methods of `photonet.distill` fine-tune the backend on the frames
    ``self-kd``               distillation of the network's own answers before fabrication. No labels.
    ``gauss-newton``          the same targets by linear algebra in tangent space. No labels.
    ``calibration+...``       one after the other, as ``calibration+gauss-newton+self-kd``
    ``twin``                  distillation on clean scenes through a fitted model of the device: of the
                              teacher if there is one, or else of the network's own answers. No labels.
    ``auto``                  the best of none, calibration, calibration with gauss-newton or self-kd after
                              it, and, if there are clean ``scenes``, twin. No labels.
    ========================  ============================================================================

    Every candidate is made from three quarters of the frames and judged on the fourth, in turn until a
    hundred frames have judged (where labels decide, a hundred that have one). The simplest one within one
    standard error of the best is kept, or nothing: mild errors are made worse by fine-tuning. The loss is the
    divergence from the simulated network's softened answers (from the teacher's, where a twin learns from
    it), or the cross-entropy if the method uses labels. What is kept is made anew from all frames.

    Args:
        student: the simulated network (its frontend gives the feature maps the backend was trained for).
        measured: frames of the device.
        teacher: for the methods that distil it; those without labels need none, and only ``twin`` uses it.
        fraction: part of ``measured`` that may be used, in (0, 1].
        method: one of `CORRECTIONS`, or several joined by a plus, calibration or twin first.
        scenes: clean scenes without labels that were not measured, [m, c, y, x]; some thousands. Moved
            copies of the measured ones otherwise.
        config: of the fine-tuning; by default about 300 steps, or ten passes over the frames if that is
            more, at a learning rate of 3e-3, and 1e-3 after a calibration.
        seed: chooses the frames, the held-out parts and the order of samples.

    Returns:
        `Corrected`; its ``student.backend`` takes measured feature maps.

    Raises:
        UnknownName: the method, or a step of it, does not exist.
        InvalidArgument: other types, too few frames, frames out of step with their scenes, labels or teacher
            missing for the method, labels that the student cannot give, a frontend that no twin can be made
            of, or maps without any contrast.
        GridMismatch: feature maps, scenes or a teacher's outputs of another shape than the student's.

    Example:
        >>> from photonet.models import compressed_meta
        >>> student = compressed_meta()
        >>> shown = torch.rand(60, 1, 28, 28)
        >>> with torch.no_grad():
        ...     measured = Measured(shown, 0.5 * student.features(shown))  # a dim device
        >>> result = correct(student, measured, fraction=1.0, method="calibration")
        >>> result.kept, result.calibration
        ('calibration', 'shared')
    """
    check_guide(teacher, TrainConfig() if config is None else config)
    names = candidates_of(method)
    measured = for_student(student, measured)
    used = usable_frames(student, measured, fraction, seed)
    check_needs(names, used, teacher)
    clean = None if scenes is None else clean_scenes(scenes, used)
    student = copy.deepcopy(student).eval()
    check_order(student, measured)
    if teacher is not None:
        same_outputs(*(predict(network, used.scenes[:1]).shape for network in (student, teacher)))
    without: dict[str, str] = {}
    if method == "auto" and predict(student, used.scenes[:1]).ndim > 2:
        names = tuple(name for name in names if "gauss-newton" not in name)
        without["gauss-newton"] = "dense outputs have too many tangents"
    calibrates = "calibration" in names
    registration, unfit = None, _cannot_be_registered(student, used) if calibrates else ""
    if unfit:
        wanted = ["registration", "twin"] if method == "auto" and clean is not None else ["registration"]
        without |= dict.fromkeys(wanted, unfit)
    elif calibrates or "twin" in names:
        registration = register_bench(student, used)
    if method == "auto" and (registration is None or clean is None):
        names = tuple(name for name in names if name != "twin")
    setting = Setting(student, used.scenes, registration, clean, teacher, config, seed)
    by_label = uses_labels(names)
    judges = labelled_samples(used.labels) if by_label and used.labels is not None else None
    rounds = [
        (Workshop(setting, used[made.to(used.scenes.device)]), used[held.to(used.scenes.device)])
        for made, held in folds(len(used), judges)
    ]
    metrics = {} if registration is None else _of_registration(registration)
    chosen = ""
    if calibrates:
        errors = _of_features(setting, rounds)
        metrics |= errors
        without |= setting.left_out
        chosen = min(
            (name for name in setting.maps() if f"features/{name}" in errors),
            key=lambda name: errors[f"features/{name}"] if errors[f"features/{name}"] > NEGLIGIBLE else 0.0,
        )
    guide = setting.guide if "twin" in names else student
    losses: dict[str, torch.Tensor] = {}
    for name in names:
        losses[name], agreement = _judged(name, chosen, rounds, guide, by_label)
        metrics |= {f"{name}/loss": float(losses[name].mean()), f"{name}/agreement": agreement}
    kept = simplest(losses)
    backend = Workshop(setting, used).backend(kept, chosen)
    # the fit to all frames may go astray
    if kept != "none" and not _better(backend, student.backend, used, guide, by_label):
        kept, backend = "none", student.backend
    others = ", ".join(f"{name} {metrics[f'{name}/loss']:.3g}" for name in names if name != kept)
    reason = (
        f"{kept}{f' ({chosen})' if 'calibration' in kept else ''}: "
        f"loss {metrics[f'{kept}/loss']:.3g} on {len(losses[kept])} held-out frames"
        f"{', against ' + others if others else ''}{_told(without)}"
    )
    settings = {"method": method, "seed": seed, "fraction": fraction, "frames": len(used), **provenance()}
    network = HybridNetwork(student.frontend, backend.eval())
    return Corrected(
        network, kept, reason, metrics, chosen if "calibration" in kept else "", registration, settings
    )


def _cannot_be_registered(student: HybridNetwork, frames: Measured) -> str:
    """Why not, for what is no imaging convolution of moderate size; empty if it can."""
    try:
        captures(student.frontend)
    except InvalidArgument as error:
        return str(error)
    height, width = frames.scenes.shape[-2:]
    if height * width > MOST_PIXELS:
        return f"scenes of {height} x {width} have more than {MOST_PIXELS} pixels"
    return ""


def _told(without: dict[str, str]) -> str:
    """What was left out, with each reason once."""
    names: dict[str, list[str]] = {}
    for name, why in without.items():
        names.setdefault(why, []).append(name)
    return "".join(f"; without {', '.join(left)}: {why}" for why, left in names.items())


def _of_registration(found: Registration) -> dict[str, float]:
    return {"registration/before": found.before, "registration/after": found.after}


def _of_features(setting: Setting, rounds: list[tuple[Workshop, Measured]]) -> dict[str, float]:
    """Relative error of the feature maps on held-out frames, before and after each calibration.

    Nothing is fitted after a calibration that leaves a negligible error: it is the one to choose.
    """
    wanted = [predict(setting.student.frontend, held.scenes) for _, held in rounds]
    power = sum(float(maps.square().sum()) for maps in wanted)

    def error(estimates: list[torch.Tensor]) -> float:
        pairs = zip(estimates, wanted, strict=True)
        return (sum(float((found - maps).square().sum()) for found, maps in pairs) / power) ** 0.5

    errors = {}
    seen = [held.features for _, held in rounds]
    if seen[0].shape == wanted[0].shape:
        errors["features/before"] = error(seen)
    for name in setting.maps():
        found = [workshop.calibration(name).features(held.features) for workshop, held in rounds]
        errors[f"features/{name}"] = error(found)
        if errors[f"features/{name}"] <= NEGLIGIBLE:
            break
    return errors


def _judged(
    name: str, chosen: str, rounds: list[tuple[Workshop, Measured]], guide: nn.Module, by_label: bool
) -> tuple[torch.Tensor, float]:
    """Losses of a candidate on all held-out frames, and how often it says what is right."""
    losses, answers, right = [], [], []
    for workshop, held in rounds:
        backend = workshop.backend(name, chosen)
        losses.append(_losses(backend, held, guide, by_label))
        answers.append(predict(backend, held.features))
        right.append(predict(guide, held.scenes).argmax(dim=1) if held.labels is None else held.labels)
    return torch.cat(losses), accuracy(torch.cat(answers), torch.cat(right))


def _losses(backend: nn.Module, frames: Measured, guide: nn.Module, by_label: bool) -> torch.Tensor:
    """Loss of each frame, against the guide's answer, or against its label where it has one."""
    logits = predict(backend, frames.features)
    if by_label and frames.labels is not None:
        return unlikelihood(logits, frames.labels)
    return frame_divergence(logits, predict(guide, frames.scenes))


def _better(
    backend: nn.Module, before: nn.Module, frames: Measured, guide: nn.Module, by_label: bool
) -> bool:
    """Whether a backend does better than the one that came in, on its own frames."""
    ours, theirs = (_losses(one, frames, guide, by_label).mean() for one in (backend, before))
    return bool(ours < theirs)
