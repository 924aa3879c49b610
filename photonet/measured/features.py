"""Measured feature maps in memory: what correction learns from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checks
from ..arrays import UNLABELLED, as_labels, as_pictures, as_tensor
from ..errors import DataError, InvalidArgument
from ..nn import HybridNetwork
from .captures import Layout, cut_windows, signed_maps
from .faults import OF_FRAMES, faults, faulty_frames
from .photometry import Fit, calibrate
from .reader import Frames, MeasuredData
from .repeats import repeats
from .shutter import by_exposure
from .steps import Calibration, chunk_of, column
from .writer import Part, write

__all__ = ["Measured"]


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """Scenes that were shown to a device and the feature maps that came back.

    Args:
        scenes: [n, c, y, x], what the display showed, with white at 1 (bytes: at 255).
        features: [n, k, v, u], signed feature maps after the subtraction of the two captures.
        labels: whole numbers [n] or of every pixel [n, y, x], -100 where unknown; None if all of them are.
        dropped: number of faulty frames that were left out.

    Raises:
        InvalidArgument: different numbers of scenes, features and labels, other axes, or values that are not
            finite.

    Example:
        >>> len(Measured(torch.rand(5, 1, 28, 28), torch.rand(5, 8, 7, 7)))
        5
    """

    scenes: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor | None = None
    dropped: int = 0

    def __post_init__(self) -> None:
        for name in ("scenes", "features"):
            white = 255 if name == "scenes" else 1
            object.__setattr__(self, name, as_pictures(name, getattr(self, name), white=white))
        if self.labels is not None:
            object.__setattr__(self, "labels", as_labels("labels", self.labels))
        if len(self.features) != len(self.scenes):
            raise InvalidArgument("features", f"{len(self.scenes)} maps, one per scene", len(self.features))
        if self.labels is not None and len(self.labels) != len(self.scenes):
            raise InvalidArgument("labels", f"{len(self.scenes)} labels, one per scene", len(self.labels))

    @classmethod
    def from_file(
        cls,
        source: str | Path | MeasuredData,
        gain: torch.Tensor | None = None,
        *,
        calibration: Calibration | Sequence[str | Fit] | None = None,
        layout: Layout | None = None,
        binning: int = 1,
        rows: Any = slice(None),
        scenes: torch.Tensor | None = None,
        drop: str | Collection[str] = (),
        merge: bool = False,
    ) -> Measured:
        """Feature maps from a file of raw frames (or of feature maps), ready for `photonet.correct`.

        The frames are corrected, cut into the captures, subtracted with the digital gains and binned, some at
        a time: of a file larger than memory only the feature maps are kept.

        Args:
            source: a file, or one that is open.
            gain: [2, k], digital gains at the subtraction (`MaskDesign.gain`); this, ``layout`` and
                ``binning`` are not for a file of features.
            calibration: fitted steps, or which to fit; by default all that the file has frames for
                (`photonet.measured.calibrate`), and ``()`` for none.
            layout: captures on the sensor along (y, x), the positive ones first; by default (2 k, 1), one
                above the other. Frames that came in windows [n, 2 k, y, x] need none.
            binning: pixels averaged into a feature, along each axis.
            rows: which scenes: a slice, a list of whole numbers, or a truth value for each.
            scenes: [n, c, y, x], what was shown, if the file does not hold it; of all its rows.
            drop: faults of single frames, ``saturated`` or ``values``, of which scenes are left out; how many
                is ``dropped``. Other groups must be without.
            merge: one map for each scene, from all of its frames (of equal name and picture, where the file
                or ``scenes`` has it): their mean, weighted by the exposure time, as the light's noise has it.

        Frames of several exposure times are scaled to the usual one, unless the step ``flat`` has done so.
        That needs dark frames, as the black level must not be scaled; ``calibration=()`` says there is none.

        Raises:
            DataError: the file is damaged or faulty.
            InvalidArgument: no scenes, no gain, several exposure times without dark frames, a layout or
                binning that does not fit the frames, no rows or some that do not exist, or frames to merge
                that nothing tells or that have different labels.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "maps.h5"
            >>> Measured(torch.rand(5, 1, 28, 28), torch.rand(5, 8, 7, 7)).to_file(path)
            >>> Measured.from_file(path, rows=[0, 3])
            <Measured scenes (2, 1, 28, 28), features (2, 8, 7, 7), without labels>
        """
        with ExitStack() as stack:
            kinds = [drop] if isinstance(drop, str) else list(drop)
            for kind in kinds:
                checks.choice("drop", kind, OF_FRAMES)
            data = source if isinstance(source, MeasuredData) else stack.enter_context(_open(source, kinds))
            taken = data.scenes
            scenes = None if scenes is None else as_pictures("scenes", scenes)
            numbers = _rows(rows, len(taken))
            wanted = len(numbers)
            for kind in kinds:
                numbers = numbers[~faulty_frames(taken)[kind][numbers]]
            dropped = wanted - len(numbers)
            if dropped and dropped == wanted:
                raise InvalidArgument(
                    "drop", "faults of some scenes", f"{', '.join(kinds)}: all {wanted} have them"
                )
            shown = _shown(taken, scenes, numbers)
            if data.kind == "features":
                frames_only = {
                    "gain": gain, "calibration": _steps_of(calibration) or None, "layout": layout,
                    "binning": None if binning == 1 else binning,
                }  # fmt: skip
                for name, value in frames_only.items():
                    if value is not None:
                        raise InvalidArgument(name, "nothing: the file holds feature maps", "a value")
                maps = taken[numbers]
            elif gain is None:
                raise InvalidArgument("gain", "the digital gains [2, k] of the captures", None)
            else:
                steps = calibration if isinstance(calibration, Calibration) else calibrate(data, calibration)
                if calibration is None:
                    _must_be_scalable(taken, steps)
                maps = _maps(taken, numbers, steps, as_tensor("gain", gain).detach(), layout, binning)
            if merge:
                same, first = _same_scenes(taken, numbers, scenes)
                maps, shown = _mean(maps, taken.exposure[numbers], same, len(first)), shown[first]
            labels = None
            if taken.label is not None:
                labels = taken.label[numbers]
                labels = torch.where(labels < 0, UNLABELLED, labels)
                labels = _common(labels, same, first, numbers) if merge else labels
            return cls(shown, maps, labels, dropped)

    def to_file(self, path: str | Path, **attributes: Any) -> None:
        """Write the feature maps with their scenes and labels to a file of measured data.

        Args:
            path: the file.
            attributes: ``camera``, ``mask``, ``wavelength`` and ``notes`` of `photonet.measured.write`.

        Raises:
            InvalidArgument: scenes outside [0, 1], or feature maps that are not [n, k, v, u].
        """
        labels = self.labels
        if labels is not None:
            labels = torch.where(labels == UNLABELLED, -1, labels)
        part = Part(self.features, exposure=1.0, shown=self.scenes, label=labels)
        write(path, part, kind="features", **attributes)

    def to(self, student: HybridNetwork) -> Measured:
        """The same in the precision and on the device of a network's backend."""
        like = next((p for p in student.backend.parameters() if p.is_floating_point()), self.features)
        labels = None if self.labels is None else self.labels.to(like.device)
        return Measured(self.scenes.to(like), self.features.to(like), labels, self.dropped)

    def __len__(self) -> int:
        return len(self.scenes)

    def __repr__(self) -> str:
        known = "without labels" if self.labels is None else f"labels {tuple(self.labels.shape)}"
        known += f", {self.dropped} frames left out" if self.dropped else ""
        return f"<Measured scenes {tuple(self.scenes.shape)}, features {tuple(self.features.shape)}, {known}>"

    def __getitem__(self, index: torch.Tensor | slice) -> Measured:
        """The same for some of the scenes."""
        labels = self.labels[index] if self.labels is not None else None
        return Measured(self.scenes[index], self.features[index], labels)


def _steps_of(calibration: Calibration | Sequence[str | Fit] | None) -> Sequence[Any]:
    return calibration.steps if isinstance(calibration, Calibration) else calibration or ()


def _rows(rows: Any, count: int) -> torch.Tensor:
    """Which of so many scenes, as numbers [m]."""
    try:
        if not isinstance(rows, slice):  # torch rounds down what is no whole number
            rows = np.atleast_1d(rows.cpu() if isinstance(rows, torch.Tensor) else rows)
            if rows.dtype.kind not in "biu":
                raise TypeError(f"an array of {rows.dtype}" if rows.size else "none of them")
            rows = torch.from_numpy(rows if rows.dtype.kind == "b" else rows.astype(np.int64))
        found = torch.arange(count)[rows].reshape(-1)
    except (IndexError, TypeError, ValueError) as error:
        raise InvalidArgument(
            "rows", f"a slice or numbers of the {count} scenes", f"{rows!r}"[:80], str(error)
        ) from error
    if not len(found):
        raise InvalidArgument("rows", f"one or more of the {count} scenes", "none of them")
    return found


def _open(path: str | Path, drop: Sequence[str]) -> MeasuredData:
    """The file, if none but its scenes have the faults that are dropped."""
    data = MeasuredData(path, accept=drop)
    others = faults(data.scenes, data.dark, data.flat, data.psf)
    found = [f for f in others if f.kind in drop and not f.place.startswith("scenes")]
    if found:
        data.close()
        raise DataError(f"{path}: {found[0]}; drop leaves out scenes only")
    return data


def _maps(
    frames: Frames,
    rows: torch.Tensor,
    calibration: Calibration,
    gain: torch.Tensor,
    layout: Layout | None,
    binning: int,
) -> torch.Tensor:
    """Signed maps of some frames, a few of these at a time."""
    scale = _scale(frames, calibration)
    parts = []
    for some in rows.split(chunk_of(frames)):
        pictures = calibration.read(frames, some)
        captures = cut_windows(pictures * column(scale[some], pictures), layout or (gain.numel(), 1))
        parts.append(signed_maps(captures, gain, binning))
    return torch.cat(parts)


def _scale(frames: Frames, calibration: Calibration) -> torch.Tensor:
    """Factor of each frame that makes its exposure the usual one, if no step has divided by it, [n]."""
    exposure = frames.exposure
    if len(by_exposure(exposure)) == 1 or any(step.name == "flat" for step in calibration.steps):
        return torch.ones_like(exposure)
    return exposure.median() / exposure


def _must_be_scalable(frames: Frames, calibration: Calibration) -> None:
    """The black level does not grow with the exposure time, so it must be gone before frames are scaled."""
    if len(by_exposure(frames.exposure)) > 1 and "dark" not in [step.name for step in calibration.steps]:
        raise InvalidArgument(
            "source", "two or more dark frames beside frames of several exposure times", "fewer",
            "calibration=() scales frames that have no black level",
        )  # fmt: skip


def _same_scenes(
    frames: Frames, rows: torch.Tensor, scenes: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which scene each of the rows is of, and which of the rows is the first of each scene."""
    if frames.name is None:
        raise InvalidArgument("merge", "False: the file has no names, which tell the scenes", True)
    scene = torch.empty(len(frames), dtype=torch.long)
    for number, same in enumerate(repeats(frames, scenes)):
        scene[same] = number
    found, back = scene[rows].unique(return_inverse=True)
    first = torch.full((len(found),), len(rows)).scatter_reduce(0, back, torch.arange(len(rows)), "amin")
    order = first.argsort()
    return order.argsort()[back], first[order]


def _mean(maps: torch.Tensor, exposure: torch.Tensor, same: torch.Tensor, count: int) -> torch.Tensor:
    """Mean maps of each scene."""
    weight = exposure.to(maps)
    total = maps.new_zeros(count, *maps.shape[1:]).index_add(0, same, maps * column(weight, maps))
    return total / column(maps.new_zeros(count).index_add(0, same, weight), total)


def _common(
    labels: torch.Tensor, same: torch.Tensor, first: torch.Tensor, numbers: torch.Tensor
) -> torch.Tensor:
    """The label of each scene: that of its frames which have one."""
    found = labels[first].clone()
    for row, scene in enumerate(same.tolist()):
        found[scene] = torch.where(found[scene] == UNLABELLED, labels[row], found[scene])
    other = (labels != UNLABELLED) & (labels != found[same])
    if bool(other.any()):
        row = int(other.flatten(1).any(1).nonzero()[0]) if labels.ndim > 1 else int(other.nonzero()[0])
        raise InvalidArgument(
            "merge", "frames of a scene that have one label", f"another one in frame {int(numbers[row])}"
        )
    return found


def _shown(frames: Frames, scenes: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    if scenes is None:
        if frames.shown is None:
            raise InvalidArgument("scenes", "what was shown, [n, c, y, x]: the file does not hold it", None)
        return frames.shown[rows]
    if len(scenes) != len(frames):
        raise InvalidArgument("scenes", f"{len(frames)} pictures, one per frame of the file", len(scenes))
    return scenes[rows.to(scenes.device)]
