"""Table 3 of arXiv 2508.08421, the MNIST row: every method, paired seeds, tuned arms."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photonet import data
from photonet.data import Images, augmented
from photonet.distill import TrainConfig, accuracy, distill, predict
from photonet.files import write_text
from photonet.models import compressed_meta, lenet
from photonet.progress import track
from photonet.provenance import provenance

from .statistics import compare, markdown

ARMS = {
    "ce": ("ce", False),
    "ce, views": ("ce", True),
    "kd": ("kd", False),
    "features": ("features", False),
    "ntkd-paper": ("ntkd-paper", False),
    "ntkd": ("ntkd", False),
    "kd, views": ("kd", True),
    "ntkd, views": ("ntkd", True),
}
"""Arm -> (method, whether student and teacher see moved views)."""

REFERENCE = "kd"


def moved(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A rotated, zoomed and displaced view of each picture, at most 0.25 rad, 15 % and 2 pixels."""
    pictures = Images(
        (255 * x).round().to(torch.uint8), torch.zeros(len(x), dtype=torch.int64), ("",), "MNIST"
    )
    return augmented(pictures, 1, generator).images[len(x) :]


def new(build: Any, seed: int) -> nn.Module:
    """A network with first weights of its own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = build()
    return model


def run(
    folder: str | None, images: int, epochs: int, seeds: int, rates: Sequence[float], out: Path
) -> dict[str, Any]:
    """Train every arm with every seed; results that are in ``out`` already are not repeated.

    Args:
        folder: of the data; None for the variable ``PHOTONET_DATA``.
        images: training images.
        epochs: of the students.
        seeds: paired repetitions.
        rates: learning rates each arm chooses from on validation data, with a seed of its own.
        out: folder of results.
    """
    train, val, test = data.mnist(folder)
    train = train.subset(slice(0, images))
    teacher = new(lenet, 0)
    settings = TrainConfig(epochs=5, batch_size=64, lr=3e-3)
    distill(teacher, None, train, val=val, method="ce", views=moved, config=settings, out=out / "teacher")
    teacher.requires_grad_(False)

    state = out / f"mnist-{images}-{epochs}.json"
    results = json.loads(state.read_text()) if state.exists() else {"rates": {}, "scores": {}}
    for arm, (method, views) in track(ARMS.items(), "arms"):
        config = TrainConfig(epochs=epochs)
        options: dict[str, Any] = {"val": val, "method": method, "views": moved if views else None}
        if arm not in results["rates"]:
            tuned = distill(
                new(compressed_meta, 1000), teacher, train, seed=1000, config=config, tune=rates, **options
            )
            results["rates"][arm] = tuned.config["lr"]
        scores = results["scores"].setdefault(arm, [])
        chosen = TrainConfig(epochs=epochs, lr=results["rates"][arm])
        for seed in range(len(scores), seeds):
            student = new(compressed_meta, seed)
            distill(student, copy.deepcopy(teacher), train, seed=seed, config=chosen, **options)
            scores.append(accuracy(predict(student, test.images), test.labels))
            write_text(state, json.dumps(results, indent=2) + "\n")
    found = compare({arm: scores[:seeds] for arm, scores in results["scores"].items()}, REFERENCE)
    results |= {
        "arms": found,
        "teacher": accuracy(predict(teacher, test.images), test.labels),
        "settings": {
            "images": images,
            "epochs": epochs,
            "seeds": seeds,
            "rates": list(rates),
            **provenance(),
        },
    }
    write_text(state, json.dumps(results, indent=2) + "\n")
    write_text(state.with_suffix(".md"), markdown(found, results["rates"], REFERENCE))
    return results
