"""False alarms and findings of the drift monitor on virtual devices.

``python -m benchmarks.drift --runs 1000 --out benchmarks/drift.json`` makes devices with errors, lets a
monitor learn 8 scanned digits in 16 rounds, and looks at 4 further rounds, 32 frames: each run with new
exposures of the reference and of the look. The false alarms of a quiet bench are counted at two stated rates,
without and with a laser that flickers from frame to frame; then every change is made to every device.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from photonet import data
from photonet.design import MaskDesign, kernels_to_masks
from photonet.files import write_text
from photonet.measured import Device, DriftMonitor, Measured, make_devices
from photonet.models import compressed_meta
from photonet.progress import track
from photonet.provenance import provenance
from photonet.streams import stream

SCENES, REFERENCE, ROUNDS = 8, 16, 4
RATES = (0.01, 0.05)
HOUR = 3600.0
DEFOCUS = 40e-6
"""In m; of the response too."""

LOUD = 0.5
"""Read noise of the noisy camera, in standard deviations of the shot noise of white."""

CHANGES: dict[str, dict[str, float]] = {
    "gain +5 %": {},
    "gain -5 %": {},
    "shift 0.5 pixel, y": {"shift_y": 0.5},
    "shift 0.5 pixel, x": {"shift_x": -0.5},
    "defocus 40 um": {"defocus": DEFOCUS},
    "noise of reading": {},
    "rotation 1 degree": {"rotation": 0.01745},
}
KIND = {"gain": "gain", "shift": "shift", "defocus": "defocus", "noise": "noise", "rotation": "other"}


def bench(design: MaskDesign, seed: int, binning: int, light: float, **change: float) -> Device:
    """A device with errors of its own, and the change on top."""
    normal = torch.randn(4, generator=stream(seed, "benchmark")).tolist()
    errors = {
        "height": 0.03 * normal[0], "shift_y": 0.5 * normal[1], "shift_x": 0.5 * normal[2], "gain": 0.15,
        "crosstalk": 0.2, "vignetting": 0.3, "drift": 1.0,
    }  # fmt: skip
    errors |= {name: errors.get(name, 0.0) + value for name, value in change.items()}
    draws = {name: [value] for name, value in errors.items()}
    return make_devices(design, draws, [seed], binning=binning, light=light)[0]


def rounds(device: Device, scenes: torch.Tensor, count: int, first: int, flicker: float) -> list[Measured]:
    """Rounds of the probe scenes; with a drift of 1 per hour, time is the logarithm of the laser's power."""
    generator = stream(first, "flicker")
    time = HOUR * flicker * torch.randn(count, len(scenes), generator=generator, dtype=torch.float64)
    return [device.measure(scenes, exposure=first + i, time=time[i]) for i in range(count)]


def changed(design: MaskDesign, name: str, device: Device, seed: int, light: float) -> Device:
    """The same device after a change."""
    if name.startswith("gain"):
        return replace(device, psf=device.psf * (1.05 if "+" in name else 0.95))
    if name.startswith("noise"):
        return replace(device, detector=replace(device.detector, dark_noise=LOUD * light**0.5))
    return bench(design, seed, device.binning, light, **CHANGES[name])


def run(runs: int, devices: int, binnings: Sequence[int], light: float, out: Path) -> dict:
    """All results; the file is written anew after each part."""
    scenes = data.digits().test.images[:SCENES]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kernels = compressed_meta().optics.weight.detach()
    design = kernels_to_masks(kernels, wavelength=525e-9, distance=0.8e-3, pitch=1e-6, pixel=8, samples=120)
    result: dict = {"scenes": SCENES, "reference": REFERENCE, "rounds": ROUNDS, "light": light, "quiet": [],
                    "changes": [], **provenance()}  # fmt: skip
    for binning in binnings:
        made = [bench(design, seed, binning, light) for seed in range(1, devices + 1)]
        for name in CHANGES:
            kinds: Counter[str] = Counter()
            for index, device in enumerate(made):
                reference = rounds(device, scenes, REFERENCE, 0, 0.0)
                blur = bench(design, index + 1, binning, light, defocus=DEFOCUS)
                moved, still = (
                    torch.stack([m.features for m in rounds(d, scenes, REFERENCE, 500, 0.0)]).mean(0)
                    for d in (blur, device)
                )
                monitor = DriftMonitor.fit(reference, responses={"defocus": moved - still})
                after = changed(design, name, device, index + 1, light)
                for repeat in range(5):
                    look = monitor.look(rounds(after, scenes, ROUNDS, 1000 + 10 * repeat, 0.0))
                    kinds[look.kind] += 1
            row = {"binning": binning, "change": name, "wanted": KIND[name.split()[0]], "kinds": dict(kinds)}
            result["changes"].append(row)
            print(row, flush=True)
            write_text(out, json.dumps(result, indent=1) + "\n")
        for flicker in (0.0, 0.01):
            p = []
            for index in track(range(runs), "quiet"):
                device, first = made[index % devices], 100 * (index + 1)
                monitor = DriftMonitor.fit(rounds(device, scenes, REFERENCE, first, flicker))
                p.append(monitor.look(rounds(device, scenes, ROUNDS, first + 50, flicker)).p)
            alarms = {str(rate): sum(value < rate for value in p) / runs for rate in RATES}
            row = {"binning": binning, "flicker": flicker, "runs": runs, "alarms": alarms}
            result["quiet"].append(row)
            print(row, flush=True)
            write_text(out, json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--binnings", nargs="+", type=int, default=[4])
    parser.add_argument("--light", type=float, default=20_000.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/drift.json"))
    args = parser.parse_args()
    run(args.runs, args.devices, args.binnings, args.light, args.out)


if __name__ == "__main__":
    main()
