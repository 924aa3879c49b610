"""Measured feature maps in memory: what correction learns from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..arrays import UNLABELLED
from ..checks import finite
from ..errors import InvalidArgument
from .captures import cut_windows, signed_maps
from .photometry import Fit, calibrate
from .reader import Frames, MeasuredData
from .steps import Calibration, chunk_of
from .writer import Part, write

__all__ = ["Measured"]


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """Scenes that were shown to a device and the feature maps that came back.

    Args:
        scenes: [n, c, y, x], what the display showed.
        features: [n, k, v, u], signed feature maps after the subtraction of the two captures.
        labels: int64 [n] or of every pixel [n, y, x], -100 where unknown; None if all of them are.

    Raises:
        InvalidArgument: different numbers of scenes, features and labels, or values that are not finite.

    Example:
        >>> len(Measured(torch.rand(5, 1, 28, 28), torch.rand(5, 8, 7, 7)))
        5
    """

    scenes: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor | None = None

    def __post_init__(self) -> None:
        finite("scenes", self.scenes)
        finite("features", self.features)
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
        layout: tuple[int, int] | None = None,
        binning: int = 1,
        rows: Any = slice(None),
        scenes: torch.Tensor | None = None,
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
            rows: which scenes: a slice or a list of numbers.
            scenes: [n, c, y, x], what was shown, if the file does not hold it; of all its rows.

        Raises:
            DataError: the file is damaged or faulty.
            InvalidArgument: no scenes, no gain, or a layout or binning that does not fit the frames.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "maps.h5"
            >>> Measured(torch.rand(5, 1, 28, 28), torch.rand(5, 8, 7, 7)).to_file(path)
            >>> Measured.from_file(path, rows=[0, 3])
            <Measured scenes (2, 1, 28, 28), features (2, 8, 7, 7), without labels>
        """
        with ExitStack() as stack:
            data = source if isinstance(source, MeasuredData) else stack.enter_context(MeasuredData(source))
            taken = data.scenes
            numbers = torch.arange(len(taken))[rows].reshape(-1)
            shown = _shown(taken, scenes, numbers)
            labels = None
            if taken.label is not None:
                labels = taken.label[numbers]
                labels = torch.where(labels < 0, UNLABELLED, labels)
            if data.kind == "features":
                frames_only = {"gain": gain, "layout": layout, "binning": None if binning == 1 else binning}
                for name, value in frames_only.items():
                    if value is not None:
                        raise InvalidArgument(name, "nothing: the file holds feature maps", "a value")
                return cls(shown, taken[numbers], labels)
            if gain is None:
                raise InvalidArgument("gain", "the digital gains [2, k] of the captures", None)
            if not isinstance(calibration, Calibration):
                calibration = calibrate(data, calibration)
            windows = layout or (gain.numel(), 1)
            parts = []
            for some in numbers.split(chunk_of(taken)):
                captures = cut_windows(calibration.read(taken, some), windows)
                parts.append(signed_maps(captures, gain, binning))
            return cls(shown, torch.cat(parts), labels)

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

    def __len__(self) -> int:
        return len(self.scenes)

    def __repr__(self) -> str:
        known = "without labels" if self.labels is None else f"labels {tuple(self.labels.shape)}"
        return f"<Measured scenes {tuple(self.scenes.shape)}, features {tuple(self.features.shape)}, {known}>"

    def __getitem__(self, index: torch.Tensor | slice) -> Measured:
        """The same for some of the scenes."""
        labels = self.labels[index] if self.labels is not None else None
        return Measured(self.scenes[index], self.features[index], labels)


def _shown(frames: Frames, scenes: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    if scenes is None:
        if frames.shown is None:
            raise InvalidArgument("scenes", "what was shown, [n, c, y, x]: the file does not hold it", None)
        return frames.shown[rows]
    if len(scenes) != len(frames):
        raise InvalidArgument("scenes", f"{len(frames)} pictures, one per frame of the file", len(scenes))
    return scenes[rows.to(scenes.device)]
