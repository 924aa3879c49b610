"""Does `photonet.estimate` rank designs as training does? ``python -m benchmarks.ranking mnist|cifar10``.

Every design is trained briefly from two seeds and estimated once from others; the rank correlation of the
two columns is the result. Each number is written to the JSON file as soon as it is known, so that a run
that was stopped goes on where it was. The settings of the estimator were chosen on the designs of
``--choosing``, other kernel counts, sizes and binnings than those that are reported.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn

from photonet import Estimate, data, estimate
from photonet.distill import TrainConfig, distill
from photonet.files import write_text
from photonet.nn import HybridNetwork, OpticalConv2d

RESULTS = Path(__file__).parent / "results"
ANCHORS = (2, 3, 5, 8)
DRAWS = 200
SEED = 100  # of the estimates; the trainings begin from seeds 0 and 1


class SignedMaxPool(nn.Module):
    """The largest value of each window, of the maps and of their negatives: [n, k, y, x] -> [n, 2 k, ...]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(torch.cat([x, -x], dim=1), self.size)


def build(
    kernels: int, size: int, binning: int, readout: str, *, image: tuple[int, int, int], hidden: int
) -> HybridNetwork:
    """Optical kernels, digital readout of their maps, two dense layers."""
    colours, side, _ = image
    maps: list[nn.Module]
    if readout == "linear":
        frontend, maps, channels = OpticalConv2d(colours, kernels, size, binning), [], kernels
    else:
        frontend, channels = OpticalConv2d(colours, kernels, size), kernels
        maps = [nn.BatchNorm2d(kernels), nn.ReLU(), nn.AvgPool2d(binning)]
        if readout == "maxpool":
            maps, channels = [nn.BatchNorm2d(kernels), SignedMaxPool(binning)], 2 * kernels
    features = channels * (side // binning) ** 2
    dense = [nn.BatchNorm2d(channels), nn.Flatten(), nn.Linear(features, hidden), nn.ReLU()]
    return HybridNetwork(frontend, nn.Sequential(*maps, *dense, nn.Linear(hidden, 10)))


Design = tuple[int, int, int, str]  # kernels, size, binning, readout


def designs(name: str, choosing: bool) -> list[Design]:
    """The designs that are compared, or those on which the estimator was set."""
    readouts = ("linear", "relu", "maxpool")
    if choosing:
        return [*itertools.product((3, 12), (5, 9), (2, 14 if name == "mnist" else 16), readouts)]
    if name == "mnist":
        few = [*itertools.product((1, 2, 4, 8, 16), (3, 7), (4, 7), ("linear",))]
        return few + [(8, 7, binning, readout) for binning in (4, 7) for readout in ("relu", "maxpool")]
    return [
        *itertools.product((2, 4, 8, 16), (3, 7), (4,), readouts[:2]),
        *itertools.product((4, 16), (3, 7), (4,), readouts[2:]),
        *itertools.product((4, 16), (7,), (8,), readouts[:2]),
    ]


def label(design: Design) -> str:
    """``"8 x 7x7, bin 4, relu"``."""
    kernels, size, binning, readout = design
    return f"{kernels} x {size}x{size}, bin {binning}, {readout}"


def builder(name: str, design: Design) -> Callable[[], HybridNetwork]:
    """What makes a fresh network of a design."""
    image, hidden = ((1, 28, 28), 128) if name == "mnist" else ((3, 32, 32), 256)
    return functools.partial(build, *design, image=image, hidden=hidden)


def trained(name: str, design: Design, seed: int, splits: data.Splits, pictures: int, epochs: int) -> float:
    """Test accuracy after a short training."""
    torch.manual_seed(seed)
    student = builder(name, design)()
    part = splits.train.subset(slice(0, pictures))
    config = TrainConfig(epochs=epochs)
    distill(student, None, part, val=splits.val.subset(slice(0, 500)), method="ce", config=config, seed=seed)
    student.eval()
    with torch.no_grad():
        right = [
            (student(x).argmax(1) == y).sum()
            for x, y in zip(splits.test.images.split(500), splits.test.labels.split(500), strict=True)
        ]
    return float(sum(right)) / len(splits.test)


def judged(name: str, chosen: list[Design], train: data.Images, means: dict[str, float]) -> dict[str, Any]:
    """Estimates of all designs, and how well they foretell the trained accuracies ``means``."""
    from scipy.stats import spearmanr

    start = time.process_time()
    found = estimate({label(d): builder(name, d) for d in chosen}, train, samples=1500, seed=SEED)
    seconds = time.process_time() - start
    print(found)
    table = found.table
    names = [str(n) for n in table.design.values]
    reached = [means[n] for n in names]
    ranks = table["rank"].values.tolist()
    separate = [(a, b) for a, b in itertools.combinations(range(len(names)), 2) if ranks[a] < ranks[b]]
    right = [(a, b) for a, b in separate if reached[a] > reached[b]]
    wrong = [reached[b] - reached[a] for a, b in separate if reached[a] <= reached[b]]
    return {
        "samples": table.attrs["samples"],
        "seed": SEED,
        "seconds": round(seconds, 1),
        "spearman": float(spearmanr(-table.error.values, reached)[0]),
        "spearman_of_accuracy": float(spearmanr(table.accuracy.values, reached)[0]),
        "groups": len(found.ranking),
        "pairs_told_apart": len(separate),
        "of_these_in_the_order_of_training": len(right) / max(1, len(separate)),
        "largest_reversal": max(wrong, default=0.0),
        "trained_minus_estimated": [
            float(r - a) for r, a in zip(reached, table.accuracy.values, strict=True)
        ],
        "estimated": {
            n: [
                round(float(v.sel(design=n)), 4) for v in (table.accuracy, table.low, table.high, table.error)
            ]
            for n in names
        },
        "rank": dict(zip(names, ranks, strict=True)),
        "anchored": {str(k): anchored(found, means, k) for k in ANCHORS},
    }


def anchored(found: Estimate, means: dict[str, float], k: int) -> dict[str, float]:
    """How the others are foretold when k random designs have been trained, over many draws of these."""
    names = [str(n) for n in found.table.design.values]
    generator = torch.Generator().manual_seed(SEED)
    held, widths, errors = [], [], []
    for _ in range(DRAWS):
        order = torch.randperm(len(names), generator=generator).tolist()
        moved = found.anchored({names[i]: means[names[i]] for i in order[:k]}).table
        for i in order[k:]:
            row, truth = moved.isel(design=i), means[names[i]]
            held.append(float(row.low) <= truth <= float(row.high))
            widths.append(float(row.high - row.low))
            errors.append(abs(float(row.accuracy) - truth))
    return {"held": mean(held), "width": median(widths), "error": mean(errors)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking", description=__doc__)
    parser.add_argument("data", choices=["mnist", "cifar10"])
    parser.add_argument("--choosing", action="store_true", help="the designs on which settings are chosen")
    parser.add_argument("--folder", help="of the data sets; default: PHOTONET_DATA")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    splits = data.load(given.data, given.folder)
    pictures, epochs = (10_000, 5) if given.data == "mnist" else (8_000, 6)
    path = RESULTS / f"ranking-{given.data}{'-choosing' if given.choosing else ''}.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    record |= {"data": splits.train.name, "pictures": pictures, "epochs": epochs}
    accuracies = record.setdefault("trained", {})
    for seed, design in itertools.product(range(given.seeds), designs(given.data, given.choosing)):
        known = accuracies.setdefault(label(design), [])
        if len(known) > seed:
            continue
        start = time.process_time()
        known.append(trained(given.data, design, seed, splits, pictures, epochs))
        write_text(path, json.dumps(record, indent=1) + "\n")
        print(f"{label(design):30} {known[-1]:.4f} in {time.process_time() - start:.1f} s", flush=True)
    chosen = designs(given.data, given.choosing)
    means = {label(d): sum(accuracies[label(d)]) / len(accuracies[label(d)]) for d in chosen}
    record["estimate"] = judged(given.data, chosen, splits.train, means)
    write_text(path, json.dumps(record, indent=1) + "\n")
    short = ("spearman", "spearman_of_accuracy", "groups", "of_these_in_the_order_of_training")
    print({key: record["estimate"][key] for key in short})


if __name__ == "__main__":
    main()
