"""The road of one seed: teacher's knowledge -> students -> masks -> a device -> its correction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..data import Images, Splits, augmented
from ..design import MaskDesign, kernels_to_masks
from ..distill import Distilled, Moved, TrainConfig, accuracy, correct, distill, predict
from ..measured import Device, Measured, make_devices
from ..models import compressed_meta, ideal_lenses, lenet, random_psfs
from ..nn import HybridNetwork
from ..progress import track
from .config import KERNEL_SIZE, LEARNING_RATES, QuickstartConfig

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CORRECTED_BY", "Road", "draw_device", "score", "take_road", "train_teacher", "tune"]

TUNED = ("ce", "kd", "ntkd-paper", "ntkd")
ABLATION = "kd, moved views"
"""The default without its kernels, at its learning rate: distillation on moved views."""

TRAINED_BY = ("ce", "kd", ABLATION, "ntkd-paper", "ntkd")

CORRECTED_BY = ("ce", "kd", "ntkd-paper", "calibration", "calibration+ntkd")
BASELINE_METHOD = "kd"
DEFAULT = "ntkd"


@dataclass(frozen=True)
class Road:
    """What one seed gave.

    Args:
        seed: of this road.
        accuracy: row of the table -> test accuracy.
        histories: method -> training history.
        kept: way of correction -> what it decided to keep.
        student: trained by the default method, with the kernels of its designed masks.
        target: [k, 1, y, x] the kernels that were wished.
        design: masks for them.
        device: what was made.
        before: test scenes as measured by the device.
        corrected: the network after the last way of correction.
    """

    seed: int
    accuracy: dict[str, float]
    histories: dict[str, xr.Dataset]
    kept: dict[str, str]
    student: HybridNetwork
    target: torch.Tensor
    design: MaskDesign
    device: Device
    before: Measured
    corrected: HybridNetwork


def score(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Fraction of right answers."""
    return accuracy(predict(model, inputs), labels)


def train_teacher(splits: Splits, config: QuickstartConfig) -> nn.Module:
    """A LeNet trained on the pictures and moved copies of them: the teacher a user would already have."""
    generator = torch.Generator().manual_seed(config.seed)
    pictures = splits.train
    if config.teacher_views:
        pictures = augmented(pictures, config.teacher_views, generator)
    with _fixed_initialisation(config.seed):
        teacher = lenet(classes=len(pictures.classes))
    settings = TrainConfig(epochs=config.teacher_epochs, batch_size=64, lr=3e-3)
    distill(teacher, None, pictures, val=splits.val, method="ce", config=settings, seed=config.seed)
    return teacher.requires_grad_(False)


def tune(teacher: nn.Module, splits: Splits, config: QuickstartConfig) -> dict[str, float]:
    """The learning rate of each method that is best on validation data, with a seed of its own."""
    best = {}
    for method in TUNED:
        losses = {}
        for lr in LEARNING_RATES:
            student = _new_student(splits.train, config, seed=config.seed + 1000)
            result = _trained(student, teacher, splits, method, _training(config, lr), config.seed + 1000)
            losses[lr] = (-result.metrics["val_accuracy"], float(result.history["val_loss"][-1]))
        best[method] = min(losses, key=lambda lr: losses[lr])
    return {**best, ABLATION: best[DEFAULT]}


def take_road(
    seed: int, teacher: nn.Module, rates: dict[str, float], splits: Splits, config: QuickstartConfig
) -> Road:
    """Everything the quickstart does with one seed."""
    train, val, test = splits
    table: dict[str, float] = {}
    histories = {}
    for method in track(TRAINED_BY, f"seed {seed}: students"):
        student = _new_student(train, config, seed)
        settings = _training(config, rates[method])
        result = _trained(student, teacher, splits, method, settings, seed)
        histories[method] = result.history
        table[f"student, {method}"] = score(student, test.images, test.labels)
        if method == DEFAULT:
            chosen = student
    for name, baseline in _baselines(train, config, seed).items():
        settings = _training(config, rates[BASELINE_METHOD])
        distill(baseline, teacher, train, val=val, method=BASELINE_METHOD, config=settings, seed=seed)
        table[name] = score(baseline, test.images, test.labels)

    target = chosen.optics.weight.detach().clone()
    design = kernels_to_masks(
        target, wavelength=config.wavelength, distance=config.distance, pitch=config.pitch,
        pixel=config.pixel, samples=config.samples, seed=seed,
    )  # fmt: skip
    chosen.optics.set_kernels(design.kernels())
    chosen.freeze_frontend()
    table["designed masks, simulated"] = score(chosen, test.images, test.labels)

    device = make_devices(
        design, draw_device(config, seed), [seed], binning=chosen.optics.binning,
        light=config.light, roughness=config.roughness,
    )[0]  # fmt: skip
    measured = device.measure(test.images, test.labels)
    table["fabricated, uncorrected"] = score(chosen.backend, measured.features, test.labels)
    bench = device.measure(train.images, train.labels, exposure=1)
    kept = {}
    for way in track(CORRECTED_BY, f"seed {seed}: corrections"):
        corrected = correct(chosen, bench, teacher=teacher, fraction=config.fraction, method=way, seed=seed)
        network = corrected.student
        table[f"corrected, {way}"] = score(network.backend, measured.features, test.labels)
        kept[way] = corrected.kept
    return Road(seed, table, histories, kept, chosen, target, design, device, measured, network)


def draw_device(config: QuickstartConfig, seed: int) -> dict[str, list[float]]:
    """One device's errors, from the same laws as the tolerance study's, at the far end of their size.

    The signs and the split of the displacement over the axes are drawn; the sizes are one standard
    deviation or the limit, so that every seed shows a device that needs correction.
    """
    generator = torch.Generator().manual_seed(seed)
    sign = (2 * torch.randint(0, 2, (3,), generator=generator) - 1).tolist()
    return {
        "height": [sign[0] * config.height],
        "shift_y": [sign[1] * config.shift],
        "shift_x": [sign[2] * config.shift],
        "gain": [config.gain],
        "crosstalk": [config.crosstalk],
    }


def _trained(
    student: HybridNetwork, teacher: nn.Module, splits: Splits, method: str, config: TrainConfig, seed: int
) -> Distilled:
    """One of `TRAINED_BY`."""
    train, val, _ = splits
    if method == ABLATION:
        return distill(student, teacher, train, val=val, method="kd", views=Moved(), config=config, seed=seed)
    return distill(student, teacher, train, val=val, method=method, config=config, seed=seed)


def _training(config: QuickstartConfig, lr: float) -> TrainConfig:
    return TrainConfig(epochs=config.epochs, batch_size=config.batch_size, lr=lr)


def _new_student(train: Images, config: QuickstartConfig, seed: int) -> HybridNetwork:
    with _fixed_initialisation(seed):
        return compressed_meta(config.kernels, KERNEL_SIZE, classes=len(train.classes), image=train.shape[-1])


def _baselines(train: Images, config: QuickstartConfig, seed: int) -> dict[str, HybridNetwork]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "ideal lenses, same backend": ideal_lenses(_new_student(train, config, seed)),
        "random PSFs, same backend": random_psfs(_new_student(train, config, seed), generator),
    }


@contextlib.contextmanager
def _fixed_initialisation(seed: int) -> Iterator[None]:
    """torch's layers draw their first weights from the global generator: lend them a seeded one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
