"""How often the band of the pilot planner holds what is measured later.

``PHOTONET_DATA=... python -m benchmarks.planner --out benchmarks/planner.json``. Two studies of seeded cases:

- *devices*: a student of MNIST, a device with random errors, a pilot of 50, 100 or 200 frames, a plan; then
  really 1, 2 and 3 times as many frames (the pilot among them), one correction, and its accuracy on 4,000
  other scenes. The plan is told 4,000 clean ones, or none.
- *curves*: invented learning curves, half of them no power laws, whose pictures are right or wrong by a
  Gaussian copula: hundreds of cases for the statistics alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from photonet import correct, data
from photonet.design import MaskDesign, kernels_to_masks
from photonet.distill import TrainConfig, accuracy, distill, predict
from photonet.files import write_text
from photonet.measured import Device, Measured, make_devices, plan_pilot
from photonet.measured.learning import fit_curves
from photonet.measured.planner import REACH
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork
from photonet.provenance import provenance
from photonet.streams import stream

PILOTS = (50, 100, 200)
LEVEL = 0.9
TEST = 4000
TRAINED = 10_000  # pictures that the student learned from; all others are of one kind


def prepare(splits: data.Splits) -> tuple[HybridNetwork, MaskDesign]:
    """A student of 10,000 pictures and the masks of its kernels."""
    x, y = splits.train.images[:TRAINED], splits.train.labels[:TRAINED]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = compressed_meta()
    distill(student, None, (x, y), method="ce", config=TrainConfig(epochs=6, lr=1e-2))
    design = kernels_to_masks(
        student.optics.weight, wavelength=525e-9, distance=0.8e-3, pitch=1e-6, pixel=8, samples=120
    )
    student.optics.set_kernels(design.kernels())
    return student.freeze_frontend(), design


def is_turned(seed: int) -> bool:
    """Whether a device is turned and enlarged: not in step with `PILOTS`, which change from case to case."""
    return seed // len(PILOTS) % 3 == 0


def device(design: MaskDesign, binning: int, seed: int) -> Device:
    """Every error is drawn anew; a third of the devices, of every size of pilot, is turned and enlarged."""
    g = stream(seed, "planner device")
    normal, uniform = torch.randn(6, generator=g).tolist(), torch.rand(6, generator=g).tolist()
    errors = {
        "height": 0.03 * normal[0], "shift_y": normal[1], "shift_x": normal[2], "gain": 0.3 * uniform[0],
        "crosstalk": 0.4 * uniform[1], "vignetting": 0.4 * uniform[2], "pixel_gain": 0.3 * uniform[3],
        "offset": 0.03 * uniform[4], "saturation": 2 * uniform[5],
    }  # fmt: skip
    if is_turned(seed):
        errors |= {"rotation": 0.12 * normal[3], "scale": 0.08 * normal[4]}
    draws = {name: [value] for name, value in errors.items()}
    return make_devices(design, draws, [seed], binning=binning, light=3000.0)[0]


def real(cases: Sequence[int], methods: list[str], out: Path, result: dict) -> None:
    """Devices; a row for each case and multiple, written after each case."""
    splits = data.load("mnist", os.environ["PHOTONET_DATA"])
    student, design = prepare(splits)
    order = TRAINED + torch.randperm(len(splits.train) - TRAINED, generator=stream(0, "planner test"))
    (x, y), clean, others = (
        splits.train.subset(order[part])[:]
        for part in (slice(0, TEST), slice(TEST, 2 * TEST), slice(2 * TEST, None))
    )
    simulated = accuracy(predict(student, x), y)
    for case in cases:
        bench, count = device(design, student.optics.binning, case), PILOTS[case % len(PILOTS)]
        method = methods[case % len(methods)]
        seen = bench.measure(x)
        chosen = torch.randperm(len(others[0]), generator=stream(case, "planner scenes"))[: REACH * count]
        frames = bench.measure(others[0][chosen], others[1][chosen], exposure=1)
        done: dict[tuple[int, int], Any] = {}

        def once(
            network: HybridNetwork,
            some: Measured,
            done: dict[tuple[int, int], Any] = done,
            **options: Any,
        ) -> Any:  # both plans try the same parts with the same seeds
            key = options["seed"], len(some)
            if key not in done:
                done[key] = correct(network, some, **options)
            return done[key]

        plans = {
            known: plan_pilot(
                student, frames[:count], once, clean=clean if known else None, level=LEVEL, seed=case,
                method=method,
            )
            for known in (True, False)
        }  # fmt: skip
        for times in range(1, REACH + 1):
            later = correct(student, frames[: times * count], fraction=1.0, method=method, seed=case)
            row = {
                "case": case, "method": method, "pilot": count, "times": times, "turned": is_turned(case),
                "simulated": simulated,
                "uncorrected": accuracy(predict(student.backend, seen.features), y),
                "truth": round(accuracy(predict(later.student.backend, seen.features), y), 5),
            }  # fmt: skip
            for known, plan in plans.items():
                middle, low, high = (round(value, 5) for value in plan.at(times * count))
                result["devices"].append({**row, "clean": known, "median": middle, "low": low, "high": high})
        print(row, flush=True)
        write_text(out, json.dumps(result, indent=1) + "\n")


def invented(cases: int) -> list[dict]:
    """Curves and scores by rule; a row for each case and multiple."""
    rows = []
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    for case in range(cases):
        g = stream(case, "planner curve")
        u = torch.rand(8, generator=g, dtype=torch.float64)
        count, splits = PILOTS[case % len(PILOTS)], 10
        top, loss, rate = 0.8 + 0.195 * u[0], 0.05 + 0.5 * u[1], 0.3 + u[2]
        spread = 0.3 * u[3]  # of the accuracy between training sets of one sample

        def law(
            n: torch.Tensor,
            top: torch.Tensor = top,
            loss: torch.Tensor = loss,
            rate: torch.Tensor = rate,
            knee: torch.Tensor = 10 + 90 * u[4],
            power: bool = case % 2 == 0,
        ) -> torch.Tensor:
            n = n.double()
            return top - loss * ((n / 8) ** -rate if power else torch.exp(-((n / knee) ** (0.5 + rate / 2))))

        smallest = max(8, count // 10)
        sizes = torch.tensor([round(smallest * (0.8 * count / smallest) ** (i / 4)) for i in range(5)])
        pictures = torch.randn(count, generator=g, dtype=torch.float64)
        own = torch.randn(5, splits, count, generator=g, dtype=torch.float64)
        common = 0.5 + 0.4 * u[5]
        hardness = common.sqrt() * pictures + (1 - common).sqrt() * own
        luck = torch.randn(5, splits, generator=g, dtype=torch.float64) * spread / sizes.sqrt()[:, None]
        rightly = normal.icdf((law(sizes)[:, None] + luck).clamp(0.01, 0.999))
        scores = (hardness < rightly[..., None]).double()
        for r in range(splits):
            order = torch.randperm(count, generator=g)
            for s, size in enumerate(sizes.tolist()):
                scores[s, r, order[:size]] = torch.nan
        curves, _ = fit_curves(sizes, scores, stream(case, "learning curve"))
        n = count * torch.arange(1, REACH + 1)
        truth = law(n) + torch.randn(REACH, generator=g, dtype=torch.float64) * spread / n.sqrt()
        low, middle, high = curves.single(n).quantile(
            torch.tensor([(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], dtype=torch.float64), dim=0
        )
        for i in range(REACH):
            row = {"case": case, "power": case % 2 == 0, "pilot": count, "times": i + 1}
            numbers = {"truth": truth[i], "median": middle[i], "low": low[i], "high": high[i]}
            rows.append(row | {name: float(value) for name, value in numbers.items()})
    return rows


def summary(rows: list[dict]) -> dict:
    """Coverage and median width of the band, by multiple of the pilot and by pilot."""

    def of(some: list[dict]) -> dict:
        return {
            "cases": len(some),
            "held": round(mean(r["low"] <= r["truth"] <= r["high"] for r in some), 4),
            "above": round(mean(r["truth"] > r["high"] for r in some), 4),
            "width": round(median(r["high"] - r["low"] for r in some), 4),
            "error": round(mean(abs(r["median"] - r["truth"]) for r in some), 4),
        }  # fmt: skip

    parts = {"all": rows}
    for key in ("times", "pilot", "turned", "method", "power"):
        for value in sorted({str(r[key]) for r in rows if key in r}):
            parts[f"{key} {value}"] = [r for r in rows if str(r.get(key)) == value]
    return {name: of(some) for name, some in parts.items() if some}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="seed of the first device")
    parser.add_argument("--curves", type=int, default=600)
    parser.add_argument("--methods", nargs="+", default=["calibration"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/planner.json"))
    args = parser.parse_args()
    result: dict = {"level": LEVEL, **provenance(), "summary": {"curves": summary(invented(args.curves))}}
    result["devices"] = []
    print(json.dumps(result["summary"], indent=1), flush=True)
    if args.devices:
        real(range(args.first, args.first + args.devices), args.methods, args.out, result)
    for known in (True, False):
        if rows := [row for row in result["devices"] if row["clean"] == known]:
            name = f"devices, {'with' if known else 'without'} clean scenes"
            result["summary"][name] = summary(rows)
            print(name, json.dumps(summary(rows), indent=1))
    write_text(args.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
