"""Write measured data: what the camera saw of which scenes, and the darks, flats and PSFs beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checks
from ..errors import InvalidArgument
from ..files import atomic_path
from .container import HEADER_BYTES, seal
from .schema import FORMAT, KINDS

__all__ = ["Part", "write"]

SATURATED = 0.999
"""A pixel counts as saturated from this part of its saturation level: full, it still has read noise."""

NAME_BYTES = 64

TEXT_BYTES = 60_000
"""An attribute of HDF5 holds up to 64 KiB."""

CHUNK_BYTES = 1 << 20

MOST_BITS = 32


@dataclass(frozen=True)
class Part:
    """One group of frames with what was noted beside them, ready to be written.

    Args:
        data: [n, ..., y, x] numbers, or an iterable of such batches (for more than fits into memory).
        exposure: exposure time in s, one for all or [n].
        temperature: of the camera in degrees C, one or [n]; NaN where unknown.
        time: seconds since 1970, one or [n]; NaN where unknown.
        shown: what the display showed, [n, c, y, x] or batches of it: floating point in [0, 1], or uint8
            with white at 255 (scenes only).
        label: class [n] or classes of the pixels [n, y, x], whole numbers, -1 where missing (scenes only).
        name: identifier of each scene or point source, [n], at most 64 bytes each.
        position: of each point source (y, x) in m, [n, 2] (psf only).
    """

    data: Any
    exposure: Any
    temperature: Any = float("nan")
    time: Any = float("nan")
    shown: Any = None
    label: Any = None
    name: Sequence[str] | None = None
    position: Any = None


def write(
    path: str | Path,
    scenes: Part,
    *,
    dark: Part | None = None,
    flat: Part | None = None,
    psf: Part | None = None,
    kind: str = "frames",
    bits: int | None = None,
    saturation: float | None = None,
    camera: str = "",
    mask: str = "",
    wavelength: Any = None,
    notes: str = "",
) -> None:
    """Write measured data to one sealed HDF5 file, atomically; the same input gives the same bytes.

    What was measured is written as it is, also when it is faulty: `check` says so, and `MeasuredData`
    refuses.

    Args:
        path: the file to write.
        scenes: what the camera saw of the scenes.
        dark: frames without light, at the exposure of the scenes.
        flat: frames of uniform light.
        psf: frames of point sources.
        kind: ``"frames"`` as the camera gave them, or ``"features"``, maps that were made of them.
        bits: resolution of the camera, to tell saturation by. When unknown, the brightest value of all frames
            counts as saturated if a converter of 8 bits or more may end there (4095, but not 4000).
        saturation: grey value of a full pixel in DN, where the full well ends before the converter
            (`Detector.saturation_level`). Without it such saturation is only a doubt of `check`.
        camera, mask: what was measured with: a name, a file, a serial number.
        wavelength: in m, one or more; None when unknown.
        notes: anything else.

    Raises:
        InvalidArgument: no scenes, lengths that do not match, frames of another size, or values of another
            kind.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "device.h5"
        >>> frames = torch.randint(0, 4000, (6, 8, 8))
        >>> write(path, Part(frames, exposure=1e-3, label=[3, 1, 4, 1, 5, 9]), bits=12, camera="IMX249")
        >>> from photonet.measured import MeasuredData
        >>> with MeasuredData(path) as measured:
        ...     print(len(measured.scenes), measured.scenes[2].shape, measured.scenes.label.tolist())
        6 torch.Size([8, 8]) [3, 1, 4, 1, 5, 9]
    """
    import h5py

    from .. import __version__

    parts = {"scenes": scenes, "dark": dark, "flat": flat, "psf": psf}
    for name, part in parts.items():
        if part is not None or name == "scenes":
            checks.instance(name, part, Part, "a Part: frames with their exposure time")
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "kind": checks.choice("kind", kind, KINDS),
        "bits": 0 if bits is None else _bits(bits),
        "wavelength": np.zeros(0) if wavelength is None else checks.wavelength(wavelength).detach().numpy(),
        "photonet": __version__,
    }
    for name, text in (("camera", camera), ("mask", mask), ("notes", notes)):
        if not isinstance(text, str) or "\0" in text or len(text.encode()) > TEXT_BYTES:
            raise InvalidArgument(name, f"a text of at most {TEXT_BYTES} bytes", repr(text)[:80])
        attributes[name] = np.bytes_(text.encode())  # fixed length: nothing in the file points elsewhere
    level = _level(saturation, bits)
    if level is not None:
        attributes["saturation"] = level
    elif bits:
        level = float(2**bits - 1)
    full = None if level is None else SATURATED * level
    if kind != "frames":
        full = np.inf
    peaks: dict[str, Peaks] = {}
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=HEADER_BYTES) as f:
            for key, value in attributes.items():
                f.attrs[key] = np.bytes_(value) if isinstance(value, str) else value
            shape: tuple[int, ...] | None = None
            for name, part in parts.items():
                if part is not None:
                    shape, peaks[name] = _write_part(f.create_group(name), name, part, shape, full)
            for name, shares in _saturated(peaks, full).items():
                f[name]["saturated"] = shares
        seal(temporary)


Peaks = tuple[np.ndarray, np.ndarray]
"""The largest value of each frame of a part, and the share of its pixels that are saturated if it is."""


def _saturated(peaks: dict[str, Peaks], full: float | None) -> dict[str, np.ndarray]:
    """The share of saturated pixels of each frame.

    Where the resolution is unknown, the largest value of all is full scale if a converter may end there.
    """
    if full is not None:
        return {name: share for name, (_, share) in peaks.items()}
    top = float(np.fmax.reduce(np.concatenate([peak for peak, _ in peaks.values()])))
    ends = _ends_a_converter(top)
    return {name: np.where(ends & (peak == top), share, 0.0) for name, (peak, share) in peaks.items()}


def _ends_a_converter(value: float) -> bool:
    """Whether it is 2^k - 1, k being 8 or more, or that shifted to the left, as to fill 16 bits."""
    if not 0 < value < np.inf or not value.is_integer():
        return False
    ones = int(value) // (int(value) & -int(value))
    return ones >= 255 and ones & (ones + 1) == 0


def _write_part(
    group: Any, name: str, part: Part, shape: tuple[int, ...] | None, full: float | None
) -> tuple[tuple[int, ...], Peaks]:
    """Stream one part into its group; returns the shape of a frame, and the peaks."""
    means, peaks, shares = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()

    def count(batch: np.ndarray) -> None:
        flat = batch.reshape(len(batch), -1)
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are kept, and found by `check`
            means.append(flat.mean(1, dtype=np.float64))
            peaks.append(flat.max(1))
        shares.append((flat >= (peaks[-1][:, None] if full is None else full)).mean(1))

    n, *sides = _stream(group, "data", f"{name}.data", part.data, 2 if full != np.inf else 3, shape, count)
    shape = tuple(sides)
    group["mean"] = np.concatenate(means)
    for column in ("exposure", "temperature", "time"):
        values = _column(f"{name}.{column}", getattr(part, column), n)
        if column == "exposure" and not (np.isfinite(values) & (values > 0)).all():
            raise InvalidArgument(f"{name}.exposure", "positive times in s", values.min())
        if np.isinf(values).any():
            raise InvalidArgument(f"{name}.{column}", "finite numbers, and NaN where unknown", "infinity")
        group[column] = values
    if part.shown is not None:
        if name != "scenes":
            raise InvalidArgument(f"{name}.shown", "None: only scenes were shown", "pictures")
        pictures = _stream(group, "shown", "scenes.shown", part.shown, 3, None, _must_be_displayable)
        if pictures[0] != n:
            raise InvalidArgument("scenes.shown", f"{n} pictures, one per frame", pictures[0])
    if part.label is not None:
        if name != "scenes":
            raise InvalidArgument(f"{name}.label", "None: only scenes have labels", "labels")
        group["label"] = _labels(part.label, n)
    if part.name is not None:
        group["name"] = _names(f"{name}.name", part.name, n)
    if part.position is not None:
        position = np.asarray(part.position, dtype=np.float64)
        if name != "psf" or position.shape != (n, 2) or not np.isfinite(position).all():
            raise InvalidArgument(
                f"{name}.position", f"[{n}, 2] finite positions of psf sources", position.shape
            )
        group["position"] = position
    return shape, (np.concatenate(peaks), np.concatenate(shares))


def _stream(
    group: Any,
    key: str,
    name: str,
    source: Any,
    single: int,
    shape: tuple[int, ...] | None,
    look: Callable[[np.ndarray], None],
) -> tuple[int, ...]:
    """Write batches into a chunked data set, looking at each; returns the shape of the whole.

    A list of items of ``single`` axes or fewer is one batch.
    """
    data = None
    for batch in _batches(name, source, single):
        if batch.ndim < 3 or 0 in batch.shape:
            raise InvalidArgument(name, "frames [n, ..., y, x], none of them empty", batch.shape)
        if shape is not None and batch.shape[1:] != shape:
            raise InvalidArgument(name, f"frames of {shape}, like the ones before", batch.shape[1:])
        shape = batch.shape[1:]
        if data is None:
            rows = min(len(batch), max(1, CHUNK_BYTES // batch[0].nbytes))
            data = group.create_dataset(
                key, shape=(0, *shape), maxshape=(None, *shape), chunks=(rows, *shape), dtype=batch.dtype
            )
        if batch.dtype != data.dtype:
            raise InvalidArgument(name, f"batches of {data.dtype}", batch.dtype)
        look(batch)
        data.resize(data.shape[0] + len(batch), axis=0)
        data[-len(batch) :] = batch
    if data is None:
        raise InvalidArgument(name, "at least one frame", "none")
    return tuple(data.shape)


def _must_be_displayable(batch: np.ndarray) -> None:
    if batch.ndim != 4:
        raise InvalidArgument("scenes.shown", "pictures [n, c, y, x]", batch.shape)
    if batch.dtype != np.uint8 and not (batch.dtype.kind == "f" and ((batch >= 0) & (batch <= 1)).all()):
        raise InvalidArgument("scenes.shown", "floating point in [0, 1], or uint8", f"other {batch.dtype}")


def _batches(name: str, data: Any, single: int) -> Iterator[np.ndarray]:
    whole = isinstance(data, (np.ndarray, torch.Tensor)) or hasattr(data, "values")
    if isinstance(data, list):
        whole = _is_one(name, data, single)
    if not whole and not isinstance(data, Iterable):
        raise InvalidArgument(name, "frames, or batches of them", type(data).__name__)
    for batch in [data] if whole else data:
        try:
            array = batch.detach().cpu().numpy() if isinstance(batch, torch.Tensor) else np.asarray(batch)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(name, "frames that NumPy can hold", str(error)) from None
        if array.dtype.kind not in "iuf":
            raise InvalidArgument(name, "real numbers", f"an array of {array.dtype}")
        if array.size and (array.dtype.kind == "i" or array.dtype == np.uint64):
            low, high = int(array.min()), int(array.max())  # grey values are counts
            if low < 0 or high >= 2**32:
                raise InvalidArgument(
                    name, "grey values from 0 to 2^32 - 1, or floating point", low if low < 0 else high
                )
            array = array.astype(np.uint16 if high < 2**16 else np.uint32)
        yield np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _is_one(name: str, data: list[Any], single: int) -> bool:
    """Whether a list is of single pictures, of so many axes at most, and not of batches of them."""
    axes = max((getattr(item, "ndim", 0) for item in data), default=0)
    if axes == 3 and single < 3:
        raise InvalidArgument(
            name, "a tensor, or a tuple of batches", "a list of items with three axes, frames or windows",
            "torch.cat or torch.stack says which",
        )  # fmt: skip
    return axes <= single


def _column(name: str, value: Any, n: int) -> np.ndarray:
    try:
        column = np.asarray(
            value.detach().cpu() if isinstance(value, torch.Tensor) else value, dtype=np.float64
        )
    except (TypeError, ValueError):
        raise InvalidArgument(name, f"one number, or {n} of them", repr(value)[:80]) from None
    if column.shape not in ((), (n,)):
        raise InvalidArgument(name, f"one number, or {n} of them", f"shape {column.shape}")
    return np.broadcast_to(column, (n,))


def _bits(bits: int) -> int:
    if checks.count("bits", bits) > MOST_BITS:
        raise InvalidArgument("bits", f"a whole number of at most {MOST_BITS}", bits)
    return bits


def _level(saturation: float | None, bits: int | None) -> float | None:
    if saturation is None:
        return None
    level = checks.positive("saturation", saturation, "a positive grey value in DN")
    if bits and level > 2**bits - 1:
        raise InvalidArgument("saturation", f"at most {2**bits - 1} DN, the end of {bits} bits", level)
    return level


def _labels(value: Any, n: int) -> np.ndarray:
    try:
        label = np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
    except ValueError as error:
        raise InvalidArgument("scenes.label", f"{n} whole numbers, or maps of them", str(error)) from None
    if label.dtype.kind not in "iu" or label.shape[:1] != (n,) or label.ndim not in (1, 3):
        raise InvalidArgument(
            "scenes.label", f"{n} whole numbers, or maps [{n}, y, x] of them", f"{label.dtype} {label.shape}"
        )
    if label.min() < -1:
        raise InvalidArgument("scenes.label", "classes from 0, and -1 where missing", int(label.min()))
    return label.astype(np.int64)


def _names(name: str, value: Sequence[str], n: int) -> np.ndarray:
    value = list(value)
    if len(value) != n or not all(isinstance(v, str) and "\0" not in v for v in value):
        raise InvalidArgument(name, f"{n} texts", f"{len(value)} values")
    encoded = [v.encode() for v in value]
    if max(map(len, encoded)) > NAME_BYTES:
        raise InvalidArgument(name, f"texts of at most {NAME_BYTES} bytes", max(map(len, encoded)))
    return np.array(encoded, dtype=f"S{NAME_BYTES}")
