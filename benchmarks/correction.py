"""Correction after fabrication on MNIST: methods against numbers of measured frames, for two kinds of device.

``PHOTONET_DATA=... python -m benchmarks.correction --devices 6 --out correction.json`` trains a teacher and
a student, designs its masks, makes devices, and writes the accuracy of each device, kind, number of frames
and method on the test scenes; a table in markdown goes to standard output. Student and teacher never saw the
scenes that are measured; the 8,000 clean scenes of the twin are unlabelled training pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

import torch

from photonet import correct, data
from photonet.design import MaskDesign, kernels_to_masks
from photonet.distill import TrainConfig, accuracy, distill, predict
from photonet.files import write_text
from photonet.measured import Device, make_devices
from photonet.models import compressed_meta, lenet
from photonet.nn import HybridNetwork

KINDS = ("sat", "misreg")
METHODS = ("none", "ce", "kd", "ntkd", "self-kd", "calibration", "calibration+self-kd", "twin", "auto")
LABELLED = 30_000
LIGHT = 3_000.0


def prepare(splits: data.Splits) -> tuple[torch.nn.Module, HybridNetwork, MaskDesign]:
    """Teacher (30,000 pictures), student (10,000, distilled), and the masks of its kernels."""
    x, y = splits.train.images[:LABELLED], splits.train.labels[:LABELLED]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher, student = lenet(), compressed_meta()
    distill(teacher, None, (x, y), method="ce", config=TrainConfig(epochs=4, lr=3e-3))
    distill(student, teacher, (x[:10_000], y[:10_000]), method="kd", config=TrainConfig(epochs=10, lr=1e-2))
    design = kernels_to_masks(
        student.optics.weight, wavelength=525e-9, distance=0.8e-3, pitch=1e-6, pixel=8, samples=120
    )
    student.optics.set_kernels(design.kernels())
    return teacher, student.freeze_frontend(), design


def devices(kind: str, count: int, design: MaskDesign, binning: int) -> list[Device]:
    """Devices with a saturating camera and unequal pixels; ``misreg`` ones are turned and enlarged too."""
    generator = torch.Generator().manual_seed(KINDS.index(kind))
    signs = (2 * torch.randint(0, 2, (count, 3), generator=generator) - 1).T
    draws = {
        "height": 0.03 * signs[0],
        "shift_y": 0.5 * signs[1],
        "shift_x": 0.5 * signs[2],
        "gain": torch.full((count,), 0.15),
        "crosstalk": torch.full((count,), 0.2),
        "vignetting": torch.full((count,), 0.35),
        "pixel_gain": torch.full((count,), 0.3),
        "offset": torch.full((count,), 0.03),
        "saturation": torch.full((count,), 2.0),
    }
    if kind == "misreg":
        angle, scale = torch.rand(2, count, generator=generator)
        draws["rotation"] = signs[0] * torch.deg2rad(6 + 8 * angle)
        draws["scale"] = signs[1] * (0.12 + 0.06 * scale)
    return make_devices(design, draws, list(range(1, count + 1)), binning=binning, light=LIGHT)


def run(kinds: list[str], count: int, frames: list[int], methods: list[str], out: Path) -> list[dict]:
    """All rows; the file is written anew after each device."""
    splits = data.load("mnist", os.environ["PHOTONET_DATA"])
    teacher, student, design = prepare(splits)
    train, test = splits.train, splits.test
    rows = [{"kind": "simulated", "accuracy": accuracy(predict(student, test.images), test.labels)}]
    for n in frames:
        for kind in kinds:
            for index, device in enumerate(devices(kind, count, design, student.optics.binning)):
                seen = device.measure(test.images, test.labels)
                first = LABELLED + 1000 * index
                bench = device.measure(
                    train.images[first : first + n], train.labels[first : first + n], exposure=1
                )
                for method in methods:
                    result = correct(
                        student, bench, teacher=teacher, fraction=1.0, method=method,
                        scenes=train.images[:8000], seed=index,
                    )  # fmt: skip
                    score = accuracy(predict(result.student.backend, seen.features), test.labels)
                    row = {"kind": kind, "frames": n, "device": index, "method": method}
                    rows.append({**row, "accuracy": score, "kept": result.kept})
                write_text(out, json.dumps(rows, indent=1))
    return rows


def table(rows: list[dict]) -> str:
    """Markdown: mean and standard deviation over devices, in percent."""
    lines = [f"Simulated: {100 * rows[0]['accuracy']:.2f}", ""]
    cells: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows[1:]:
        of = cells.setdefault((row["kind"], row["frames"]), {})
        of.setdefault(row["method"], []).append(100 * row["accuracy"])
    columns = sorted(cells)
    lines.append("| | " + " | ".join(f"{kind}, {n}" for kind, n in columns) + " |")
    lines.append("| --- |" + " --- |" * len(columns))
    for method in dict.fromkeys(row["method"] for row in rows[1:]):
        values = [cells[column].get(method, []) for column in columns]
        texts = [f"{statistics.mean(v):.2f} ± {statistics.pstdev(v):.2f}" if v else "" for v in values]
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--devices", type=int, default=6)
    parser.add_argument("--frames", nargs="+", type=int, default=[30, 100, 300, 1000])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("correction.json"))
    args = parser.parse_args()
    print(table(run(args.kinds, args.devices, args.frames, args.methods, args.out)))


if __name__ == "__main__":
    main()
