"""Correction after fabrication: methods against numbers of measured frames, for two kinds of device.

``PHOTONET_DATA=... python -m benchmarks.correction --out FILE`` trains a teacher and a student, designs
masks, makes devices, and writes the accuracy of each device, kind, number of frames and method on the test
(or validation) pictures, after each cell; a run that was interrupted goes on where it stopped.
``--table FILE`` prints the table in Markdown.

Student and teacher never saw the scenes that are measured; the 5,000 clean scenes without labels are training
pictures, and every second test picture is shown to each device. Settings are chosen on other devices than
those of the table (``--first 101 --shown val``; which were not chosen on validation pictures says
docs/explanation/correction.md). With ``--bench`` every
measurement is a file of raw frames, as `photonet.measured.run_bench` writes it, at the exposure time that a
pilot of 16 scenes asked for, and calibrated by its dark and flat frames and its geometry; otherwise frames
are read by the camera's data sheet. A file holds one student and one draw of devices, which also depends
on their number: rows of others are refused. ``kd``, ``ntkd``,
``ntkd-paper``, ``twin`` and ``auto`` know the teacher. Each method is fitted to all frames and taken as it
is; only ``auto`` holds frames out and may keep nothing. ``calibration`` uses the map that ``auto`` would.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

import torch

from photonet import correct, data
from photonet.design import MaskDesign, kernels_to_masks
from photonet.detector import Detector
from photonet.distill import DeviceNoise, TrainConfig, accuracy, distill, predict
from photonet.distill.candidates import Setting, Workshop
from photonet.distill.chain import needs_of
from photonet.files import write_text
from photonet.measured import (
    Device,
    Measured,
    MeasuredData,
    calibrate,
    choose_exposure,
    correct_geometry,
    make_devices,
    run_bench,
)
from photonet.models import compressed_meta, lenet, polychromatic_meta
from photonet.nn import HybridNetwork

from .paper.statistics import percent

KINDS = ("sat", "misreg")
METHODS = (
    "none", "auto", "auto, no teacher", "calibration", "ce", "kd", "ntkd-paper", "ntkd", "self-kd",
    "gauss-newton", "gauss-newton+self-kd", "calibration+self-kd", "calibration+gauss-newton", "twin",
)  # fmt: skip
TAUGHT = 30_000
"""Training pictures that the teacher saw; the measured ones come after them."""

CLEAN = 5_000
LIGHT = 3_000.0
DIM = 0.25
"""Part of the light that the student of CIFAR-10 is trained with."""

WHITE = 0.8
"""Part of the camera's range that `DeviceNoise` fills with a white scene."""

PILOT = 16
"""Scenes that choose the exposure time of a bench."""


def prepare(splits: data.Splits) -> tuple[torch.nn.Module, HybridNetwork, MaskDesign]:
    """Teacher (30,000 pictures), student (10,000, distilled), and the masks of its kernels."""
    x, y = splits.train.images[:TAUGHT], splits.train.labels[:TAUGHT]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher, student = lenet(), compressed_meta()
    distill(teacher, None, (x, y), method="ce", config=TrainConfig(epochs=4, lr=3e-3))
    distill(student, teacher, (x[:10_000], y[:10_000]), method="kd", config=TrainConfig(epochs=10, lr=1e-2))
    return teacher, *fabricate(student)


def prepare_cifar(splits: data.Splits) -> tuple[None, HybridNetwork, MaskDesign]:
    """A student for grey pictures of 32 x 32 with 16 kernels 7 x 7, trained with labels and a dim camera.

    The camera gets a quarter of the light of these devices, the least that a saturating one leaves of it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = polychromatic_meta(16, colours=1, readout="linear", mixing=128, hidden=(256,))
    x, y = grey(splits.train.images[:TAUGHT]), splits.train.labels[:TAUGHT]
    config = TrainConfig(epochs=16, batch_size=125, lr=3e-3)
    distill(student, None, (x, y), method="ce", views=data.cropped, noise=dim(student), config=config)
    return None, *fabricate(student)


def dim(student: HybridNetwork) -> DeviceNoise:
    """Shot and read noise of features, each of as many pixels as the student bins, at `DIM` of the light."""
    side = student.optics.binning
    well = DIM * LIGHT * side**2 / WHITE
    camera = Detector(full_well=well, gain=3500 / well, dark_noise=7.0 * side, dsnu=0.0, prnu=0.0)
    return DeviceNoise(gain=0.0, shift=0.0, kernel=0.0, camera=camera)


def fabricate(student: HybridNetwork) -> tuple[HybridNetwork, MaskDesign]:
    """The masks of a student's kernels, and the student with the kernels that the masks really have."""
    design = kernels_to_masks(
        student.optics.weight, wavelength=525e-9, distance=0.8e-3, pitch=1e-6, pixel=8, samples=120
    )
    student.optics.set_kernels(design.kernels())
    return student.freeze_frontend(), design


def grey(images: torch.Tensor) -> torch.Tensor:
    """Luminance (ITU-R BT.601) of colour pictures."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)


def devices(kind: str, count: int, design: MaskDesign, binning: int, first: int = 1) -> list[Device]:
    """Devices with a saturating camera and unequal pixels; ``misreg`` ones are turned and enlarged too."""
    generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + first)
    sign = 2.0 * torch.randint(0, 2, (3, count), generator=generator) - 1
    angle, scale, direction = torch.rand(3, count, generator=generator)
    reach = 0.7 if kind == "sat" else 2.0
    draws = {
        "height": 0.03 * sign[0],
        "shift_y": reach * torch.sin(2 * math.pi * direction),
        "shift_x": reach * torch.cos(2 * math.pi * direction),
        "gain": torch.full((count,), 0.15),
        "crosstalk": torch.full((count,), 0.3),
        "vignetting": torch.full((count,), 0.35),
        "pixel_gain": torch.full((count,), 0.3),  # of 16 pixels in a feature: 7.5 %
        "offset": torch.full((count,), 0.03),
        "saturation": torch.full((count,), 2.0),
    }
    if kind == "misreg":
        draws["rotation"] = sign[1] * torch.deg2rad(6 + 8 * angle)
        draws["scale"] = sign[2] * (0.12 + 0.06 * scale)
    seeds = list(range(first, first + count))
    return make_devices(design, draws, seeds, binning=binning, light=LIGHT)


def measure(
    device: Device,
    index: int,
    splits: data.Splits,
    frames: int,
    judges: tuple[torch.Tensor, torch.Tensor],
    bench: bool,
) -> tuple[Measured, Measured]:
    """Frames of pictures that nobody was trained on, others for each device, and of those that judge."""
    generator = torch.Generator().manual_seed(index)
    some = TAUGHT + torch.randperm(len(splits.train) - TAUGHT, generator=generator)[:frames]
    pictures = grey(splits.train.images[some]), splits.train.labels[some]
    if bench:
        return on_the_bench(device, pictures, judges)
    return device.measure(*pictures, exposure=1), device.measure(*judges)


def on_the_bench(
    device: Device,
    pictures: tuple[torch.Tensor, torch.Tensor],
    judges: tuple[torch.Tensor, torch.Tensor],
) -> tuple[Measured, Measured]:
    """The same from files of raw frames: exposure by a pilot, dark and flat frames, geometry."""
    design, nothing = device.design, {"dark": 0, "flat": 0, "levels": 0, "points": 0}
    read = {"gain": design.gain, "binning": device.binning}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_bench(device, pictures[0][:PILOT], folder / "pilot.h5", exposure=2)
        with MeasuredData(folder / "pilot.h5") as pilot:
            seconds = choose_exposure(pilot).seconds
        learn, judge = folder / "learn.h5", folder / "judge.h5"
        run_bench(device, pictures[0], learn, labels=pictures[1], exposure=1, seconds=seconds)
        run_bench(device, judges[0], judge, labels=judges[1], seconds=seconds, **nothing)
        with MeasuredData(learn) as file:
            calibration = calibrate(file, ["dark", "linearity", "flat", correct_geometry(design.psf())])
            return (
                Measured.from_file(file, calibration=calibration, **read),
                Measured.from_file(judge, calibration=calibration, **read),
            )


def shown(splits: data.Splits, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures that judge, and their labels: all of validation, or every second one of the test."""
    pictures, step = (splits.val, 1) if part == "val" else (splits.test, 2)
    return grey(pictures.images[::step]), pictures.labels[::step]


def score(backend: torch.nn.Module, seen: Measured) -> float:
    """Accuracy on the pictures that judge."""
    assert seen.labels is not None
    return accuracy(predict(backend, seen.features), seen.labels)


def cell(
    student: HybridNetwork,
    teacher: torch.nn.Module | None,
    bench: Measured,
    seen: Measured,
    clean: torch.Tensor,
    methods: list[str],
    seed: int,
) -> dict[str, dict[str, object]]:
    """All methods on the same frames; they use what calibration, as in ``auto``, registered and chose."""
    base = correct(student, bench, fraction=1.0, method="calibration", scenes=clean, seed=seed)
    errors = {k.removeprefix("features/"): v for k, v in base.metrics.items() if k.startswith("features/")}
    chosen = min((name for name in errors if name != "before"), key=errors.__getitem__)
    setting = Setting(student, bench.scenes, base.registration, clean, teacher, seed=seed)
    workshop = Workshop(setting, bench)
    found: dict[str, dict[str, object]] = {}
    for method in methods:
        if method.startswith("auto"):
            guide = teacher if method == "auto" else None
            own = correct(student, bench, fraction=1.0, teacher=guide, scenes=clean, seed=seed)
            found[method] = {
                "accuracy": score(own.student.backend, seen), "kept": own.kept, "map": own.calibration
            }  # fmt: skip
        elif teacher is not None or not needs_of(method) - {"labels"}:
            found[method] = {"accuracy": score(workshop.backend(method, chosen), seen)}
    return found


def run(args: argparse.Namespace) -> None:
    """Fill the file with the cells that it does not have yet."""
    splits = data.load(args.data)
    teacher, student, design = (prepare if args.data == "mnist" else prepare_cifar)(splits)
    judges = shown(splits, args.shown)
    head = {
        "kind": "simulated", "accuracy": accuracy(predict(student, judges[0]), judges[1]),
        "shown": args.shown, "devices": args.devices, "first": args.first, "bench": args.bench,
    }  # fmt: skip
    rows = json.loads(args.out.read_text()) if args.out.exists() else [head]
    if any(rows[0].get(name, False if name == "bench" else value) != value for name, value in head.items()):
        raise SystemExit(f"{args.out} is of another student or of other devices: {rows[0]}, not {head}")
    rows[0] = head
    clean = grey(splits.train.images[:CLEAN])
    made = {
        kind: devices(kind, args.devices, design, student.optics.binning, args.first) for kind in args.kinds
    }
    seen: dict[tuple[str, int], tuple[Measured, Measured]] = {}
    for n in args.frames:
        for index in range(args.devices):
            for kind in args.kinds:
                key = {"kind": kind, "frames": n, "device": index}
                have = {row["method"] for row in rows[1:] if key.items() <= row.items()}
                methods = [method for method in args.methods if method not in have]
                if not methods:
                    continue
                device, number = made[kind][index], args.first + index
                if args.bench:  # calibrated by its own frames alone
                    bench, test = measure(device, number, splits, n, judges, True)
                else:
                    if (kind, index) not in seen:
                        seen[kind, index] = measure(device, number, splits, max(args.frames), judges, False)
                    bench, test = seen[kind, index]
                found = cell(student, teacher, bench[slice(0, n)], test, clean, methods, index)
                rows += [{**key, "method": method, **values} for method, values in found.items()]
                write_text(args.out, json.dumps(rows, indent=1) + "\n")


def table(rows: list[dict[str, object]]) -> str:
    """Markdown: mean and standard deviation over devices, in percent, a table for each kind."""
    lines = [f"Simulated: {100 * float(str(rows[0]['accuracy'])):.2f}"]
    for kind in dict.fromkeys(row["kind"] for row in rows[1:]):
        cells: dict[tuple[object, object], list[float]] = {}
        for row in rows[1:]:
            if row["kind"] == kind:
                cells.setdefault((row["method"], row["frames"]), []).append(float(str(row["accuracy"])))
        columns = sorted({frames for _, frames in cells}, key=lambda frames: int(str(frames)))
        lines += ["", f"| `{kind}` | " + " | ".join(f"{n:,}" for n in columns) + " |"]
        lines.append("| --- |" + " --- |" * len(columns))
        for method in (m for m in METHODS if any(m == known for known, _ in cells)):
            values = [cells.get((method, n), []) for n in columns]
            texts = [percent(v) if v else "" for v in values]
            lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("mnist", "cifar10"), default="mnist")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--shown", choices=("val", "test"), default="test", help="pictures that judge")
    parser.add_argument("--devices", type=int, default=6)
    parser.add_argument("--first", type=int, default=1, help="seed of the first device")
    parser.add_argument("--frames", nargs="+", type=int, default=[100, 1000, 30, 300])
    parser.add_argument("--bench", action="store_true", help="from calibrated files of raw frames")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/correction-mnist.json"))
    parser.add_argument("--table", type=Path, help="print the table of a file, and do nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.table is None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        run(args)
    print(table(json.loads((args.table or args.out).read_text())))


if __name__ == "__main__":
    main()
