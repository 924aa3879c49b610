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
from ..nn import HybridNetwork
from ..provenance import provenance
from . import losses
from .calibrate import fit_ridge_map, merge_into_backend
from .config import METHODS, TrainConfig
from .teacher import teacher_targets
from .terms import needs
from .trainer import Samples, accuracy, fit, predict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CORRECTIONS", "Corrected", "correct"]

CORRECTIONS: dict[str, tuple[bool, str | None]] = {
    "none": (False, None),
    "calibration": (True, None),
    **{method: (False, method) for method in METHODS},
    **{f"calibration+{method}": (True, method) for method in METHODS},
}
"""Name -> whether to calibrate first, and which method fine-tunes the backend."""

HELD_OUT = 0.25
"""Fraction of the measured frames that decides whether a correction is kept."""

FINE_TUNING = TrainConfig(epochs=1, batch_size=64, lr=1e-3, weight_decay=0.05, temperature=8.0)
FINE_TUNING_STEPS = 300


@dataclass(frozen=True)
class Corrected:
    """A corrected network and how it was chosen.

    Args:
        student: the optics as they are, and the corrected backend (a copy: the original is untouched).
        kept: what was kept: ``none``, ``calibration``, or the whole method.
        metrics: per candidate, agreement and loss on the held-out frames.
        history: of the fine-tuning, if there was one.
        config: settings, with the number of frames used.
    """

    student: HybridNetwork
    kept: str
    metrics: dict[str, float]
    history: xr.Dataset | None = None
    config: dict[str, Any] = field(default_factory=dict)


def correct(
    student: HybridNetwork,
    measured: Measured,
    *,
    teacher: nn.Module | None = None,
    fraction: float = 0.10,
    method: str = "calibration+ntkd",
    config: TrainConfig | None = None,
    seed: int = 0,
) -> Corrected:
    """Re-align the backend of a fabricated network with a fraction of measured data.

    The teacher sees the clean scenes, the backend sees the measured feature maps. ``calibration`` is a
    label-free ridge map from measured to simulated feature maps, merged into the first dense layer;
    the methods of `photonet.distill` fine-tune the backend; ``calibration+kd`` does one after the other.
    A quarter of the used frames is held out, and only what is better there is kept: mild errors are
    made worse by fine-tuning, and then the network stays as it was.

    Args:
        student: the simulated network (its frontend gives the feature maps the backend was trained for).
        measured: frames of the device.
        teacher: for the methods that distil.
        fraction: part of ``measured`` that may be used, in (0, 1].
        method: a key of `CORRECTIONS`.
        config: of the fine-tuning; by default about 300 steps at a learning rate of 1e-3.
        seed: chooses the frames, the held-out part and the order of samples.

    Returns:
        `Corrected`; its ``student.backend`` takes measured feature maps.

    Raises:
        UnknownName: the method does not exist.
        InvalidArgument: too few frames, labels or teacher missing for the method.

    Example:
        >>> from photonet.models import compressed_meta
        >>> student = compressed_meta()
        >>> scenes = torch.rand(60, 1, 28, 28)
        >>> with torch.no_grad():
        ...     measured = Measured(scenes, 0.5 * student.features(scenes))  # a dim device
        >>> correct(student, measured, fraction=1.0, method="calibration").kept
        'calibration'
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
    judge = _Judge(student, test)
    candidates: dict[str, nn.Module] = {"none": student.backend}
    history = None
    with torch.no_grad():
        simulated = student.features(used.scenes)
    _, channels, height, width = used.features.shape
    shape = (channels, height, width)
    if calibrates:
        trial = fit_ridge_map(train.features, simulated[held:])
        candidates["calibration"] = merge_into_backend(trial, student.backend, shape)
    if tuning is not None:
        backend = copy.deepcopy(candidates["calibration" if calibrates else "none"]).requires_grad_(True)
        history = _fine_tune(backend, train, test, teacher, tuning, config, seed)
        candidates[method] = backend
    scores = {name: judge(backend) for name, backend in candidates.items()}
    kept = max(scores, key=lambda name: scores[name])
    backend = candidates[kept]
    if kept == "calibration":  # judged on frames it had not seen; the final map may use them all
        backend = merge_into_backend(fit_ridge_map(used.features, simulated), student.backend, shape)
    metrics: dict[str, float] = {}
    for name, (agreement, minus_loss) in scores.items():
        metrics |= {f"{name}/agreement": agreement, f"{name}/loss": -minus_loss}
    settings = {"method": method, "seed": seed, "fraction": fraction, "frames": len(used), **provenance()}
    return Corrected(HybridNetwork(student.frontend, backend.eval()), kept, metrics, history, settings)


class _Judge:
    """Scores a backend on held-out frames: by labels where known, else by the simulated network's answers."""

    def __init__(self, student: HybridNetwork, frames: Measured) -> None:
        self.features = frames.features
        self.labels = (
            frames.labels if frames.labels is not None else predict(student, frames.scenes).argmax(dim=1)
        )

    def __call__(self, backend: nn.Module) -> tuple[float, float]:
        logits = predict(backend, self.features)
        # agreement first; among equals the smaller loss
        return accuracy(logits, self.labels), -float(losses.cross_entropy(logits, self.labels))


def _fine_tune(
    backend: nn.Module,
    train: Measured,
    test: Measured,
    teacher: nn.Module | None,
    method: str,
    config: TrainConfig | None,
    seed: int,
) -> xr.Dataset:
    terms = METHODS[method]
    wanted = needs(terms)
    if "labels" in wanted and train.labels is None:
        raise InvalidArgument(
            "measured", f"labels, which the method {method!r} uses", "none", "use method='calibration'"
        )
    if teacher is None and wanted - {"labels"}:
        raise InvalidArgument("teacher", f"a torch module for the method {method!r}", None)
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
        description=f"correcting ({method})",
    )
