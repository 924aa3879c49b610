"""The search for a recipe with tangent kernels that wins over distillation, on MNIST.

What NTK.md, sections 4 and 6, had tried is not repeated. Every arm has its own rate, chosen on validation
images; seeds are paired. Besides the test pictures each arm is measured on shifted ones, which nobody was
trained on. The same losses in other worlds are in `search_wider`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photonet import ntk
from photonet.data import Splits
from photonet.distill import (
    KD,
    NTK,
    CrossEntropy,
    KernelResidual,
    Moved,
    Term,
    TrainConfig,
    accuracy,
    during,
    gauss_newton,
    predict,
)
from photonet.distill.views import Views
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork

from .arms import Arm, measure, scores, tuned
from .cells import Cells
from .mnist import RATES, Bench, bench

PROMISING = ("kd", "residual in place of kd", "logits in place of kd", "ten times the weight")
"""Best on moved pictures in the first table, and their controls; repeated with seeds that chose nothing."""

FRESH = range(5, 15)
HARD = CrossEntropy(0.1)
SOFT = KD(0.9)


def losses() -> dict[str, tuple[Term, ...]]:
    """What differs is the part that tangent kernels play."""
    aligned = NTK(0.1, form="cka", centred=True)
    return {
        "kd": (HARD, SOFT),
        "full class blocks": (HARD, SOFT, replace(aligned, outputs="full")),
        "trace over classes": (HARD, SOFT, replace(aligned, outputs="trace")),
        "frontend alone": (HARD, SOFT, replace(aligned, params="frontend")),
        "ten times the weight": (HARD, SOFT, replace(aligned, weight=1.0)),
        "kernels, then kd": (
            replace(aligned, weight=1.0, schedule=during(0.0, 0.2)),
            replace(HARD, schedule=during(0.2, 1.0)),
            replace(SOFT, schedule=during(0.2, 1.0)),
        ),
        "residual in the kernel's norm": (HARD, SOFT, KernelResidual(1.0)),
        "residual in place of kd": (HARD, KernelResidual(5.0)),
        # so strong a ridge drowns the kernel: the relative squared error of the logits, a control
        "logits in place of kd": (HARD, KernelResidual(5.0, strength=1e3)),
    }


def arms() -> dict[str, Arm]:
    """10,000 images, 10 epochs."""
    config = TrainConfig(epochs=10)
    return {name: Arm(compressed_meta, "compressed_meta", terms, config) for name, terms in losses().items()}


def few(b: Bench, images: int, how: str) -> Splits:
    """So many of the first 10,000 images: the first ones, or those that tell the teacher's kernel most."""
    chosen = torch.arange(images)
    if how == "greedy":
        teacher = copy.deepcopy(b.teacher[0]).requires_grad_(True)
        with torch.no_grad():
            pool = b.splits.train.images[:10_000]
            gram = ntk.gram(teacher, pool, method="sketch", generator=torch.Generator().manual_seed(0))
        size = gram.diagonal().sqrt()
        chosen = ntk.informative(gram / (size[:, None] * size), images, strength=0.01)
    train = b.splits.train.subset(chosen.repeat(-(-10_000 // images)))  # as many steps as with all
    return Splits(train, b.splits.val, b.splits.test)


def shifted(model: nn.Module, data: Splits) -> dict[str, Any]:
    """Accuracies on the test pictures, on moved and on noisy ones."""
    pictures, labels = data.test.images, data.test.labels
    generator = torch.Generator().manual_seed(0)
    worlds: dict[str, Views] = {
        "moved": Moved(),
        "noisy": lambda x, g: (x + 0.3 * torch.randn(x.shape, generator=g)).clamp(0, 1),
    }
    found = {
        name: accuracy(predict(model, view(pictures, generator)), labels) for name, view in worlds.items()
    }
    return {**measure(model, data), **found}


def refined(b: Bench, part: str) -> Callable[[nn.Module, Splits], dict[str, Any]]:
    """Judges a student after Gauss-Newton steps in tangent space, of its backend or of all of it."""

    def judge(model: nn.Module, data: Splits) -> dict[str, Any]:
        assert isinstance(model, HybridNetwork)
        model, scenes = model.eval(), data.train.images
        wanted = predict(b.teacher[0], scenes)
        if part == "all":
            return shifted(gauss_newton(model, scenes, wanted), data)
        backend = gauss_newton(model.backend, predict(model.frontend, scenes), wanted)
        return shifted(HybridNetwork(model.frontend, backend), data)

    return judge


def run(folder: str | None, seeds: int, out: Path, work: Path) -> None:
    """Train what is missing."""
    b = replace(bench(folder, seeds, out, work), cells=Cells(out / "search.json"))
    ten, options = b.first(10_000), {"teacher": b.teacher, "judge": shifted}
    for name, arm in arms().items():
        chosen = tuned(b.cells, name, arm, RATES, ten, work / "search", **options)
        scores(b.cells, name, chosen, range(seeds), ten, work / "search", **options)
    for name in PROMISING:
        chosen = tuned(b.cells, name, arms()[name], RATES, ten, work / "search", **options)
        scores(b.cells, f"fresh/{name}", chosen, FRESH, ten, work / "search", **options)
    kd = tuned(b.cells, "kd", arms()["kd"], RATES, ten, work / "search", **options)
    scores(b.cells, "tangent/kd", kd, range(seeds), ten, work / "search", **options)
    for part in ("backend", "all"):
        arm = replace(kd, design=f"compressed_meta, then Gauss-Newton, {part}")
        judged = {**options, "judge": refined(b, part)}
        scores(b.cells, f"tangent/Gauss-Newton, {part}", arm, range(seeds), ten, work / "search", **judged)
    for images in (100, 300):
        for how in ("first", "greedy"):
            some, name = few(b, images, how), f"{images} {how}"
            chosen = tuned(b.cells, name, arms()["kd"], RATES, some, work / "search", **options)
            scores(b.cells, name, chosen, range(seeds), some, work / "search", **options)
