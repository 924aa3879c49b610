"""The camera against itself and against the public EMVA 1288 reference implementation.

`coverage` puts many random cameras on the bench and counts how often the truth lies in its 95 % interval.
`emva1288_agreement` writes one camera's frames to TIFF files and lets the `emva1288` package (GPL-3; an
external program here, started in its own process, nothing of it is used by photonet) evaluate the same
pixels. ``PHOTONET_EMVA1288_PYTHON`` names the interpreter that has it, if that is another one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from photonet.detector import Detector, bench

from . import Skip, case

WAVELENGTH = 525e-9


def random_camera(seed: int) -> Detector:
    """A camera with every number drawn: 5 to 40 ke- full well, all parts of DSNU and PRNU."""
    u = torch.rand(12, generator=torch.Generator().manual_seed(seed)).tolist()
    full_well = 5_000 + 35_000 * u[0]
    gain = (0.8 + 0.3 * u[1]) * 3900 / full_well
    return Detector(
        quantum_efficiency=0.2 + 0.7 * u[2],
        gain=gain,
        full_well=full_well,
        dark_noise=max(2 + 8 * u[3], 0.6 / gain),  # EMVA 1288 needs the dark noise to show in the DN
        dark_current=500 * u[4],
        black_level=100,
        dsnu=(2 * u[5], 2 * u[6], 1 + 5 * u[7]),
        prnu=(0.003 * u[8], 0.003 * u[9], 0.003 + 0.007 * u[10]),
    )


def coverage(cameras: int = 100, shape: int = 64) -> list[dict[str, Any]]:
    """How many of so many cameras have their true value inside of the bench's 95 % interval."""
    inside: dict[str, int] = {}
    widths: dict[str, list[float]] = {}
    for seed in range(cameras):
        detector = random_camera(seed)
        found = bench.characterize(detector, WAVELENGTH, shape=shape, camera=seed, seed=seed)
        true = bench.truth(detector, WAVELENGTH, found)
        for name, estimate in found.estimates().items():
            inside[name] = inside.get(name, 0) + (true[name] in estimate)
            widths.setdefault(name, []).append((estimate.high - estimate.low) / 2)
    return [
        {
            "quantity": name,
            "inside": count,
            "of": cameras,
            "median half width": float(np.median(widths[name])),
        }
        for name, count in inside.items()
    ]


# The evaluation of the reference implementation. Its fit gives an array of one element where current numpy
# wants a number, and it calls a function that numpy has dropped: hence the two shims.
EVALUATE = """
import json, sys
import numpy as np
np.asfarray = lambda a: np.asarray(a, dtype=float)
from emva1288.process import routines
fit = routines.LinearB0
def scalar_fit(*arguments, **keywords):
    value, error = fit(*arguments, **keywords)
    return [float(np.ravel(value)[0])], error
routines.LinearB0 = scalar_fit
from emva1288.process import Data1288, LoadImageData, ParseEmvaDescriptorFile, Results1288
images = ParseEmvaDescriptorFile(sys.argv[1], loglevel=40).images
r = Results1288(Data1288(LoadImageData(images, loglevel=40).data, loglevel=40).data, loglevel=40)
names = ["K", "QE", "sigma_d", "u_e_sat"] + [
    kind + "1288" + part for kind in ("DSNU", "PRNU") for part in ("", "_row", "_col", "_pixel")]
found = {name: getattr(r, name) for name in names}
print(json.dumps({name: float(np.ravel(v() if callable(v) else v)[0]) for name, v in found.items()}))
"""

NAMES = {
    "gain": ("K", 1.0),
    "quantum_efficiency": ("QE", 0.01),
    "dark_noise": ("sigma_d", 1.0),
    "saturation": ("u_e_sat", 1.0),
    "dsnu": ("DSNU1288", 1.0),
    "dsnu_row": ("DSNU1288_row", 1.0),
    "dsnu_column": ("DSNU1288_col", 1.0),
    "dsnu_pixel": ("DSNU1288_pixel", 1.0),
    "prnu": ("PRNU1288", 0.01),
    "prnu_row": ("PRNU1288_row", 0.01),
    "prnu_column": ("PRNU1288_col", 0.01),
    "prnu_pixel": ("PRNU1288_pixel", 0.01),
}


def emva1288_agreement(python: str = sys.executable, seed: int = 0, shape: int = 200) -> list[dict[str, Any]]:
    """The same frames, evaluated by photonet and by the reference implementation in that interpreter."""
    detector = random_camera(seed)
    take = bench.virtual_camera(detector, WAVELENGTH, shape, camera=seed, seed=seed)
    frames: list[tuple[float, np.ndarray]] = []

    def recorded(photons: float) -> torch.Tensor:
        frame = take(photons)
        frames.append((photons, frame.numpy().astype(np.uint16)))
        return frame

    full = 1.08 * detector.saturation / detector.efficiency(WAVELENGTH).item()
    levels = torch.linspace(0, full, 50, dtype=torch.float64).tolist()
    found = bench.measure(recorded, levels, stack=16).estimates()
    with tempfile.TemporaryDirectory() as folder:
        reference = _reference(python, Path(folder), detector, frames, shape)
    rows = []
    for name, (theirs, unit) in NAMES.items():
        ours, other = found[name].value, reference[theirs] * unit
        rows.append({"quantity": name, "photonet": ours, "emva1288": other, "difference": ours / other - 1})
    return rows


def _reference(
    python: str, folder: Path, detector: Detector, frames: list[tuple[float, np.ndarray]], shape: int
) -> dict[str, float]:
    lines = ["v 4.0", f"n {detector.bits} {shape} {shape}"]
    exposure = detector.exposure * 1e9
    previous = None
    for i, (photons, frame) in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i}.tif")
        if photons != previous or i == len(frames) - 32:  # the dark stack follows the last level
            lines.append(f"d {exposure}" if photons == 0 else f"b {exposure} {photons}")
        lines.append(f"i {i}.tif")
        previous = photons
    descriptor = folder / "frames.txt"
    descriptor.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [python, "-c", EVALUATE, str(descriptor)], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"the emva1288 package failed: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


MAIN = ("gain", "quantum_efficiency", "dark_noise", "saturation", "linearity_error", "dsnu", "prnu")


@case(
    "cameras of 100 with a true value outside of its 95 % interval",
    reference="the simulated camera's own numbers",
    bound=7,
    slow=True,
)
def interval_misses() -> float:
    """The worst of the seven main quantities."""
    return max(float(row["of"] - row["inside"]) for row in coverage() if row["quantity"] in MAIN)


@case("EMVA 1288 evaluation of the same frames", reference="emva1288 1.0.2", bound=0.02, slow=True)
def emva1288_difference() -> float:
    """The largest relative difference, parts of the nonuniformities included."""
    python = os.environ.get("PHOTONET_EMVA1288_PYTHON", sys.executable)
    has = subprocess.run([python, "-c", "import emva1288"], capture_output=True, check=False)
    if has.returncode:
        raise Skip("the package emva1288 is not installed")
    return max(abs(row["difference"]) for row in emva1288_agreement(python))
