"""The PSF of a mask that does not fit into memory: matrix Fourier transform, strip by strip."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checks
from ..arrays import readable
from ..errors import DataError, GridMismatch, InvalidArgument
from ..files import atomic_path, writable
from ..grid import Grid
from .fourier import fourier_matrix, scratch
from .irradiance import irradiance
from .plan import plan
from .sampling import LIMIT, announce
from .scalars import scalar
from .zoom import curvature

__all__ = ["stream_psf"]

STRIP_BYTES = 2**27
"""Rows of the mask that are worked on together."""

TURN_SAMPLES = 2**15
"""Samples of a phase mask whose sine and cosine are taken together."""


def stream_psf(
    transmission: Any,
    grid: Grid,
    wavelength: Any,
    distance: Any,
    output: Grid,
    *,
    phase: bool = False,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> torch.Tensor:
    """Irradiance behind a huge mask in a plane wave, on a small window, in bounded memory.

    Rows of the mask are read in strips from anything that is sliced like an array (HDF5 data set,
    ``numpy.memmap``, dask array, tensor) and added up by two matrix products with the paraxial
    (Fresnel) kernel.

    Args:
        transmission: [y, x], the same at every wavelength: complex, or a phase in rad with ``phase``; a
            tensor on a GPU is worked on there.
        grid: samples of the mask.
        wavelength: in m, one value or [L].
        distance: mask to window in m.
        output: samples of the window.
        phase: the mask holds a phase in rad.
        checkpoint: file that keeps the sum of the strips done; an interrupted call goes on from it (it reads
            those strips again, to see that the mask is the same), and it is removed at the end.
        progress: show a progress bar.

    Returns:
        float32 [L, *output.shape] (float64 for a double precision mask), the fraction of the power
        incident on ``grid`` in each sample.

    Raises:
        GridMismatch: a mask of another shape than ``grid``.
        InvalidArgument: a complex mask where a phase is expected, or the other way round; no array of
            numbers, or masked ones; a checkpoint that cannot be written.
        DataError: a checkpoint that is damaged, or of another mask or other arguments.

    Warns:
        SamplingWarning: a pitch too coarse for the distance, or a paraxial error above 1 %.

    Example:
        >>> grid, window = Grid(256, 4e-6), Grid(8, 2e-6)
        >>> stream_psf(torch.zeros(256, 256), grid, 525e-9, 0.1, window, phase=True).shape
        torch.Size([1, 8, 8])
    """
    waves = checks.wavelength(wavelength).detach().cpu()  # few numbers; the matrices go to where the mask is
    z = scalar("distance", distance, "a finite length in m, not zero", zero=False).detach().cpu()
    for name, plane in (("grid", grid), ("output", output)):
        checks.instance(name, plane, Grid, "a photonet.Grid")
    checkpoint = None if checkpoint is None else writable(checkpoint)
    if not hasattr(transmission, "shape"):
        raise InvalidArgument("transmission", "an array [y, x]", type(transmission).__name__)
    if tuple(transmission.shape) != grid.shape:
        raise GridMismatch("transmission", f"shape {grid.shape}", tuple(transmission.shape))
    first = _read(transmission, 0, 1)
    if first.is_complex() == phase:
        raise InvalidArgument(
            "phase", "True for a real phase in rad, False for a complex mask", f"{phase} with {first.dtype}"
        )
    dtype = torch.complex128 if first.dtype in (torch.float64, torch.complex128) else torch.complex64
    _check_sampling(grid, waves, float(z), output)
    right, left, place = [], [], first.device
    for wave in waves:
        area = wave * z
        bend = curvature(grid.x, area)
        right.append((fourier_matrix(output.x / area, grid.x) * bend).mT.to(place, dtype))
        left.append((fourier_matrix(output.y / area, grid.y) * curvature(grid.y, area)).to(place, dtype))
    item = torch.empty(0, dtype=dtype).element_size()
    rows = max(1, STRIP_BYTES // (grid.shape[1] * item))
    key = _key(grid, waves, z, output, phase, rows)
    total, done = torch.zeros(len(waves), *output.shape, dtype=dtype, device=place), 0
    read = hashlib.sha256()
    if checkpoint is not None and checkpoint.exists():
        kept, done, known = _resume(checkpoint, key)
        total = kept.to(place)
        for start in range(0, done, rows):
            _note(read, _read(transmission, start, start + rows))
        if read.hexdigest() != known:
            raise _another(checkpoint)
    room = scratch(total, min(rows, grid.shape[0]), grid.shape[1]) if phase else total
    for start in _bar(range(done, grid.shape[0], rows), progress):
        strip = _read(transmission, start, start + rows)
        u = _turn(strip, room[: len(strip)]) if phase else strip.to(dtype)
        for index in range(len(waves)):
            total[index] += left[index][:, start : start + rows] @ (u @ right[index])
        if not bool(torch.isfinite(total).all()):
            got = f"NaN or infinite ones in rows {start} to {start + len(strip) - 1}"
            raise InvalidArgument("transmission", "finite values", got)
        if checkpoint is not None:
            _note(read, strip)
            _keep(checkpoint, key, total, min(start + rows, grid.shape[0]), read.hexdigest())
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    areas = (waves * z.abs())[:, None, None]
    scale = (grid.cell / areas) ** 2 * output.cell / (grid.cell * grid.shape[0] * grid.shape[1])
    return irradiance(total) * scale.to(total.real)


def _check_sampling(grid: Grid, waves: torch.Tensor, z: float, output: Grid) -> None:
    """Say when the pitch cannot hold the kernel, and when the paraxial kernel is not the exact one."""
    choice = plan(grid, waves, z, output, method="fresnel_zoom")
    announce(
        float(abs(z) < choice.critical),
        f"the pitch samples the Fresnel kernel over this mask only from |z| = {choice.critical:.3g} m",
        f"a finer pitch, or |z| of at least {choice.critical:.3g} m instead of {abs(z):.3g} m",
        strict=False,
    )
    far2 = sum(
        (abs(a - b) + (m + n) / 2) ** 2
        for a, b, m, n in zip(grid.centre, output.centre, grid.extent, output.extent, strict=True)
    )
    # the phase k r^4 / (8 z^3) that the paraxial kernel leaves out, of the longest ray
    safe = (2 * math.pi / float(waves.min()) * far2**2 / (8 * LIMIT)) ** (1 / 3)
    announce(
        choice.paraxial_error,
        f"the paraxial kernel is off by {choice.paraxial_error:.1%} over |z| = {abs(z):.3g} m",
        f"|z| of at least {safe:.3g} m would hold, or a smaller mask with propagate",
        strict=False,
    )


def _read(mask: Any, start: int, stop: int) -> torch.Tensor:
    strip = mask[start:stop]
    if isinstance(strip, torch.Tensor):
        return strip.detach()
    return torch.from_numpy(readable("transmission", strip))


def _turn(phase: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """``exp(i phase)`` written to ``u``, some rows at a time, so that sine and cosine stay in the cache.

    (`torch.polar` takes eight times as long, which is as long as the matrix products.)
    """
    few = max(1, TURN_SAMPLES // phase.shape[1])
    for out, angle in zip(u.split(few), phase.split(few), strict=True):
        angle = angle.to(u.real.dtype)
        out.copy_(torch.complex(angle.cos(), angle.sin()))
    return u


def _bar(steps: range, progress: bool) -> Any:
    if not progress:
        return steps
    from rich.progress import track

    return track(steps, description="stream_psf")


def _note(read: Any, strip: torch.Tensor) -> None:
    """Add a strip of the mask to the digest of all that has been read."""
    read.update(strip.cpu().resolve_conj().contiguous().view(torch.uint8).numpy())


def _key(grid: Grid, waves: torch.Tensor, z: torch.Tensor, output: Grid, phase: bool, rows: int) -> str:
    """Of everything but the mask that the sum depends on."""
    text = json.dumps([str(grid), grid.shape, grid.pitch, grid.centre, waves.tolist(), float(z), phase, rows])
    return hashlib.sha256(f"{text} {output.shape} {output.pitch} {output.centre}".encode()).hexdigest()


def _resume(checkpoint: Path, key: str) -> tuple[torch.Tensor, int, str]:
    """The sum, how many rows are in it, and their digest."""
    try:
        with np.load(checkpoint, allow_pickle=False) as kept:
            known, digest = str(kept["key"]), str(kept["read"])
            total, done = torch.from_numpy(kept["total"]), int(kept["done"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{checkpoint}: no whole checkpoint of stream_psf ({type(error).__name__}); "
            "remove it to begin anew"
        ) from None
    if known != key:
        raise _another(checkpoint)
    return total, done, digest


def _another(checkpoint: Path) -> DataError:
    return DataError(f"{checkpoint}: the sum of another mask or other arguments; remove it to begin anew")


def _keep(checkpoint: Path, key: str, total: torch.Tensor, done: int, read: str) -> None:
    with atomic_path(checkpoint) as temporary, open(temporary, "wb") as file:
        np.savez(file, key=key, total=total.cpu().numpy(), done=done, read=read)
