"""Free space against ``ifft2(fft2(pad(u)) * H)`` in the same process, and against installed peers."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from photonet import Grid
from photonet.optics import irradiance, propagate, stream_psf, streaming
from photonet.optics.transfer import clear_cache

from . import Contest, case, paired

WAVE, PITCH = 532e-9, 4e-6


def _field(n: int, *lead: int) -> torch.Tensor:
    return torch.randn(*lead, 1, n, n, dtype=torch.complex64, generator=torch.Generator().manual_seed(n))


def _bare(u: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    n = u.shape[-1]
    return torch.fft.ifft2(torch.fft.fft2(u, s=kernel.shape[-2:]) * kernel)[..., :n, :n]


def _distances(n: int) -> tuple[float, float]:
    """One for each of the two exact methods."""
    critical = 2 * n * PITCH**2 / WAVE
    return 2 * critical, 0.8 * critical


def _peers(n: int, z: float) -> tuple[dict[str, Callable[[], object]], list[str]]:
    """The peers that are installed, in single precision and padded to 2N as far as they can be.

    None of them keeps its kernel, so `photonet, cold` is what they compare with.
    """
    runs: dict[str, Callable[[], object]] = {}
    left_out = []
    for name, prepare in (("torchoptics", _torchoptics), ("LightPipes", _lightpipes), ("prysm", _prysm)):
        try:
            runs.update(prepare(n, z))
        except ImportError as error:
            left_out.append(f"without {name}: {error}")
    return runs, left_out


def _torchoptics(n: int, z: float) -> dict[str, Callable[[], object]]:
    """Its own default pads by 2N on each side, to 5N; that is measured too, where it fits."""
    import torchoptics

    beam = torchoptics.Field(_field(n)[0], wavelength=WAVE, spacing=PITCH)
    kind = str(beam.data.dtype).removeprefix("torch.")

    def run(pad: tuple[int, int] | None) -> Callable[[], object]:
        return lambda: beam.propagate_to_z(z, propagation_method="ASM", asm_pad=pad)

    runs = {f"torchoptics ASM, 2N, {kind}": run((n // 2, n // 2))}
    return runs | ({f"torchoptics ASM, 5N as called, {kind}": run(None)} if n <= 512 else {})


def _lightpipes(n: int, z: float) -> dict[str, Callable[[], object]]:
    """It never pads; the window is twice as wide from the start."""
    import LightPipes

    beam = LightPipes.Begin(2 * n * PITCH, WAVE, 2 * n, dtype=np.complex64)
    kind = LightPipes.Forvard(beam, z).field.dtype
    return {f"LightPipes Forvard, 2N, paraxial, {kind}": lambda: LightPipes.Forvard(beam, z)}


def _prysm(n: int, z: float) -> dict[str, Callable[[], object]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its use of pkg_resources
        from prysm.conf import config
        from prysm.propagation import angular_spectrum
    config.precision = 32
    array = _field(n)[0].numpy()

    def run() -> object:
        return angular_spectrum(array, WAVE * 1e6, PITCH * 1e3, z * 1e3, Q=2)

    return {f"prysm angular spectrum, 2N, paraxial, {run().dtype}": run}


def _forward(n: int, rounds: int) -> Contest:
    u, kernel, grid = _field(n), torch.randn(2 * n, 2 * n, dtype=torch.complex64), Grid(n, PITCH)
    z, _ = _distances(n)
    return paired({"bare": lambda: _bare(u, kernel), "photonet": lambda: propagate(u, grid, WAVE, z)}, rounds)


def _beside(n: int, rounds: int) -> Contest:
    u, kernel, grid = _field(n), torch.randn(2 * n, 2 * n, dtype=torch.complex64), Grid(n, PITCH)
    z, _ = _distances(n)
    peers, left_out = _peers(n, z)

    def cold() -> torch.Tensor:
        clear_cache()
        return propagate(u, grid, WAVE, z)

    ours = {"photonet, cold": cold, "photonet, kernel cached": lambda: propagate(u, grid, WAVE, z)}
    contest = paired({"bare": lambda: _bare(u, kernel), **ours, **peers}, rounds)
    contest.notes = left_out
    return contest


def _cold(n: int, rounds: int, near: bool) -> Contest:
    u, kernel, grid = _field(n), torch.randn(2 * n, 2 * n, dtype=torch.complex64), Grid(n, PITCH)
    z = _distances(n)[near]

    def run() -> torch.Tensor:
        clear_cache()
        return propagate(u, grid, WAVE, z)

    return paired({"bare": lambda: _bare(u, kernel), "photonet": run}, rounds)


def _backward(n: int, rounds: int) -> Contest:
    u, kernel, grid = _field(n), torch.randn(2 * n, 2 * n, dtype=torch.complex64), Grid(n, PITCH)
    z, _ = _distances(n)

    def naive() -> torch.Tensor | None:
        v = u.clone().requires_grad_()
        _bare(v, kernel).abs().square().sum().backward()
        return v.grad

    def ours() -> torch.Tensor | None:
        v = u.clone().requires_grad_()
        irradiance(propagate(v, grid, WAVE, z)).sum().backward()
        return v.grad

    return paired({"naive autograd": naive, "photonet": ours}, rounds)


for _n, _rounds, _target in ((256, 41, 0.4), (512, 25, 0.4), (1024, 9, 0.3), (2048, 11, 0.3)):
    case(f"forward, kernel cached, {_n}", target=1.0)(functools.partial(_forward, _n, _rounds))
    case(f"forward, cold, Rayleigh-Sommerfeld, {_n}", target=2.0)(
        functools.partial(_cold, _n, _rounds, False)
    )
    case(f"forward, cold, angular spectrum, {_n}", target=2.0)(functools.partial(_cold, _n, _rounds, True))
    case(f"forward and backward, {_n}", target=_target)(functools.partial(_backward, _n, _rounds))
    case(f"beside peers, {_n}", target=2.0)(functools.partial(_beside, _n, max(3, _rounds // 4)))


_PEAK = """
import re, sys, torch
from pathlib import Path
from benchmarks import optics
torch.set_num_threads(1)
def peak():  # of this program: getrusage's begins with the peak of the process that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
n, gradient = int(sys.argv[1]), sys.argv[2] == "True"
run = optics.job(n, gradient)
optics.job(64, gradient)()  # loads what is loaded once
before = peak()
kept = run()
print((peak() - before) * 1024)
"""


def job(n: int, gradient: bool) -> Callable[[], object]:
    """Propagation over the farther distance from nothing, the kernel not cached, with or without gradient."""
    u, grid = _field(n).requires_grad_(gradient), Grid(n, PITCH)

    def run() -> torch.Tensor | None:
        v = propagate(u, grid, WAVE, _distances(n)[0])
        if not gradient:
            return v
        irradiance(v).sum().backward()
        return u.grad

    return run


def _memory(n: int, gradient: bool) -> Contest:
    """Growth of the largest resident memory of a process of its own, in grids of 2N samples."""
    command = [sys.executable, "-c", _PEAK, str(n), str(gradient)]
    peaks = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
    return Contest({"grid of 2N (bytes)": [8.0 * (2 * n) ** 2], "photonet": peaks})


for _gradient, _target in ((False, 2.0), (True, 2.5)):
    case(f"peak memory, kernel built, {'with' if _gradient else 'without'} gradient, 2048", target=_target)(
        functools.partial(_memory, 2048, _gradient)
    )


@case("batch of 64 x 256", target=0.8)
def batch() -> Contest:
    u, kernel, grid = _field(256, 64), torch.randn(512, 512, dtype=torch.complex64), Grid(256, PITCH)
    z, _ = _distances(256)
    return paired(
        {"batched bare": lambda: _bare(u, kernel), "photonet": lambda: propagate(u, grid, WAVE, z)}, 5
    )


@case("32 x 32 window of 1024 by matrix transform", target=1.05)
def window() -> Contest:
    n = 1024
    u, grid = _field(n), Grid(n, PITCH)
    out = Grid(32, PITCH)
    z = 0.3  # far enough for the pitch and for the paraxial kernel
    left, right = torch.randn(32, n, dtype=torch.complex64), torch.randn(n, 32, dtype=torch.complex64)
    beam = torch.exp(-((grid.mesh()[0] ** 2 + grid.mesh()[1] ** 2) / 1e-6)).to(torch.complex64) * (
        u / u.abs()
    )
    return paired(
        {
            "two matrix products": lambda: left @ (u @ right),
            "photonet": lambda: propagate(beam, grid, WAVE, z, output=out, method="fresnel_zoom"),
        },
        21,
    )


@case("streamed PSF, 4096 x 4096 to 256 x 256", target=1.5)
def streamed() -> Contest:
    n, m = 4096, 256
    grid, out = Grid(n, PITCH), Grid(m, PITCH)
    mask = torch.rand(n, n, generator=torch.Generator().manual_seed(0))
    u = torch.polar(torch.ones_like(mask), mask)
    left, right = torch.randn(m, n, dtype=torch.complex64), torch.randn(n, m, dtype=torch.complex64)
    rows = streaming.STRIP_BYTES // (8 * n)

    def products() -> torch.Tensor:
        total = torch.zeros(m, m, dtype=torch.complex64)
        for start in range(0, n, rows):
            total += left[:, start : start + rows] @ (u[start : start + rows] @ right)
        return total

    return paired(
        {
            "matrix products": products,
            "photonet": lambda: stream_psf(mask, grid, WAVE, 1.0, out, phase=True),
            "photonet, complex mask": lambda: stream_psf(u, grid, WAVE, 1.0, out),
        },
        3,
    )


@case("import photonet against import torch", target=1.25)
def import_time() -> Contest:
    seconds: dict[str, list[float]] = {"torch": [], "photonet": []}
    for turn in range(8):
        for name, times in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            if turn:  # the first fills the file cache
                times.append(time.perf_counter() - start)
    return Contest(seconds)
