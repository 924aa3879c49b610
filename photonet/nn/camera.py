"""The camera as a layer, so that a network is trained with the noise it will meet."""

from __future__ import annotations

import torch
from torch import nn

from .. import checks
from ..arrays import as_tensor
from ..detector import Detector
from ..detector.readout import grey_values, without_mosaic
from ..streams import stream

__all__ = ["DetectorLayer"]


class DetectorLayer(nn.Module):
    """Feature maps as a camera reads them: shot and read noise, full well, converter; see `detect`.

    One feature is one pixel of this camera. Where a feature is the mean of b x b pixels that are read one by
    one, pass ``frames=b * b``, which has the same shot and read noise away from saturation. (Binning before
    the readout, as a feature here, is noisier by b.) Negative features are read as darkness, with its noise
    and without a gradient; nothing warns of them.

    Works in relative units: a feature of ``full_scale`` fills ``exposure`` of the camera's range, and what
    is read is scaled back, so the mean of the output is the input, or 0 where that is negative. Noise is
    drawn in training and in evaluation alike, because a camera has it in both. Gradients are those of
    `photonet.detector.detect`.

    Args:
        detector: the camera, without a mosaic (of one with a mosaic, ``detector.behind("R")``).
        full_scale: the feature that is exposed to ``exposure``; features are light and not negative.
        exposure: that part of the saturation, at most 1.
        frames: exposures to average.
        seed: of the noise; `reseed` starts it anew.

    Shape:
        [..., y, x] -> the same.

    Raises:
        InvalidArgument: a scale or an exposure that is not positive, a camera with a mosaic, or one that its
            dark current fills.

    Example:
        >>> layer = DetectorLayer(Detector(), full_scale=2.0)
        >>> features = torch.rand(4, 8, 16, 16)
        >>> seen = layer(features)
        >>> bool((seen - features).abs().mean() < 0.02), torch.equal(seen, layer(features))
        (True, False)
    """

    def __init__(
        self,
        detector: Detector,
        *,
        full_scale: float = 1.0,
        exposure: float = 0.8,
        frames: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.detector = without_mosaic(detector)
        part = checks.positive("exposure", checks.fraction("exposure", exposure))
        scale = checks.positive("full_scale", full_scale)
        self.electrons = part * detector.saturation / scale
        self.frames = checks.count("frames", frames)
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the noise anew."""
        self.seed = checks.count("seed", seed, least=0)
        self._generator: torch.Generator | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The features as read."""
        if self._generator is None or self._generator.device != features.device:
            self._generator = stream(self.seed, "exposure", features.device)
        electrons = as_tensor("features", features) * self.electrons
        # not `detect`, which refuses negative light: in training a feature may pass there, and is dark
        grey = grey_values(electrons, self.detector, self._generator, None, self.frames, noise=True)
        return self.detector.electrons(grey) / self.electrons

    def extra_repr(self) -> str:
        """Camera and exposure, for ``print(model)``."""
        return f"{self.detector.name}, {self.electrons:g} electrons per unit"
