"""Damage a file of measured data in many ways, and see that the reader says so.

Run `python -m tests.measured.fuzz 10000` for the long form; the test suite runs a short one. For each
mutation the reader must raise the package's own error, or give exactly the numbers that were written.
Anything else (another exception, another number) is a failure; a crash or a hang of the process would be
seen as such.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from photonet.errors import PhotonetError
from photonet.measured import MeasuredData, Part, check, write
from photonet.measured.container import SealedFile, seal
from photonet.measured.faults import FAULTS


def sample(path: Path, seed: int = 0) -> None:
    """A small file with everything in it; its many small chunks and blocks are a large file in small."""
    g = np.random.default_rng(seed)
    scenes = g.integers(100, 4000, (12, 6, 7))
    write(
        path,
        Part(iter(np.split(scenes, 6)), exposure=1e-3, label=g.integers(0, 9, 12),
             shown=g.integers(0, 255, (12, 1, 3, 3), dtype=np.uint8),
             time=np.arange(12.0), temperature=25.0, name=[f"scene {i}" for i in range(12)]),
        dark=Part(g.integers(0, 60, (4, 6, 7)), exposure=1e-3),
        flat=Part(g.integers(1900, 2100, (4, 6, 7)), exposure=2e-3),
        psf=Part(g.integers(100, 4000, (2, 6, 7)), exposure=5e-3, position=[[0, 0], [1e-3, 0]]),
        bits=12, camera="camera", mask="mask", wavelength=525e-9, notes="for the fuzz",
    )  # fmt: skip
    reseal(path, block=256)


def reseal(path: Path, change: Callable[[h5py.File], object] = lambda f: None, block: int = 1 << 20) -> None:
    """Take the seal off, change the HDF5 file, and seal it again."""
    with SealedFile(path) as sealed:
        end = sealed.end
    with open(path, "r+b") as f:
        f.truncate(end)
    with h5py.File(path, "r+") as h:
        change(h)
    seal(path, block)


def everything(path: Path) -> list[object]:
    """All that a reader can get out of a file."""
    found: list[object] = []
    with MeasuredData(path) as measured:
        found += [
            measured.kind,
            measured.bits,
            measured.camera,
            measured.mask,
            measured.wavelength,
            measured.notes,
        ]
        for group in (measured.scenes, measured.dark, measured.flat, measured.psf):
            if group is not None:
                found += [
                    group[:],
                    group.exposure,
                    group.temperature,
                    group.time,
                    group.mean,
                    group.saturated,
                ]
                shown = None if group.shown is None else group.shown[:]
                found += [group.label, group.name, group.position, shown]
    return found


def same(a: list[object], b: list[object]) -> bool:
    def equal(x: object, y: object) -> bool:
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            return (
                x.dtype == y.dtype
                and x.shape == y.shape
                and bool(torch.equal(x.nan_to_num(-1), y.nan_to_num(-1)))
            )
        return x == y

    return len(a) == len(b) and all(map(equal, a, b))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One of eight kinds of damage."""
    b = bytearray(data)
    # half of the damage goes where structures are dense: header, HDF5 metadata and table
    at = (
        rng.randrange(len(b))
        if rng.random() < 0.5
        else rng.choice([rng.randrange(min(4096, len(b))), len(b) - 1 - rng.randrange(64)])
    )
    length = min(rng.choice([1, 2, 8, 64, 512, 4096]), len(b) - at)
    match rng.randrange(8):
        case 0:
            b[at] ^= 1 << rng.randrange(8)
        case 1:
            b[at : at + length] = rng.randbytes(length)
        case 2:
            b[at : at + length] = bytes(length)
        case 3:
            b[at : at + length] = b"\xff" * length
        case 4:
            del b[at:]
        case 5:
            del b[at : at + length]
        case 6:
            b[at:at] = rng.randbytes(length)
        case 7:
            other = rng.randrange(len(b) - length + 1)
            b[at : at + length] = b[other : other + length]
    return bytes(b)


def parts_are_right(path: Path, scenes: torch.Tensor) -> bool:
    """Whether what can be read of a damaged file, frame by frame, is what was written."""
    try:
        with MeasuredData(path, accept=FAULTS) as measured:
            for i in range(len(measured.scenes)):
                try:
                    if not torch.equal(measured.scenes[i], scenes[i]):
                        return False
                except PhotonetError:
                    continue
    except PhotonetError:
        pass
    return True


def run(count: int, seed: int = 0) -> Counter[str]:
    """Count what came of so many mutations.

    ``unchanged`` ones wrote what was there already; a ``right answer`` is damage where HDF5 keeps nothing.
    """
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "device.h5"
        sample(path)
        data, true = path.read_bytes(), everything(path)
        for i in range(count):
            damaged = mutate(data, rng)
            path.write_bytes(damaged)
            try:
                right = same(everything(path), true)
                outcome = ("unchanged" if damaged == data else "right answer") if right else "WRONG NUMBER"
            except PhotonetError:
                outcome = "refused" if parts_are_right(path, true[6]) else "WRONG PART"
            except Exception as error:
                outcome = f"FOREIGN ERROR {type(error).__name__}: {error}"
            if (outcome == "right answer" or (outcome == "refused" and i % 10 == 0)) and not check(path):
                outcome = "NOT FOUND BY CHECK"
            if path.read_bytes() != damaged:
                outcome = "MODIFIED THE FILE"
            outcomes[outcome] += 1
    return outcomes


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    began = time.perf_counter()
    result = run(number)
    print(f"{number} mutations in {time.perf_counter() - began:.0f} s: {dict(result)}")
    sys.exit(set(result) - {"refused", "unchanged", "right answer"} != set())
