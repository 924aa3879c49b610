"""The whole hybrid network: light first, a small digital backend after it."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from .optical_conv import OpticalConv2d

__all__ = ["HybridNetwork"]


class HybridNetwork(nn.Module):
    """An optical frontend (images in, feature maps out) and a digital backend.

    Args:
        frontend: any module; after fabrication it is fixed.
        backend: any module from feature maps to decisions.

    Raises:
        InvalidArgument: one of them is no module.

    Example:
        >>> from photonet.nn import OpticalConv2d
        >>> backend = nn.Sequential(nn.Flatten(), nn.Linear(8 * 7 * 7, 10))
        >>> network = HybridNetwork(OpticalConv2d(1, 8, 7, binning=4), backend).freeze_frontend()
        >>> network(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> sum(p.numel() for p in network.parameters() if p.requires_grad)
        3930
    """

    def __init__(self, frontend: nn.Module, backend: nn.Module) -> None:
        super().__init__()
        self.frontend = checks.instance("frontend", frontend, nn.Module, "a torch module")
        self.backend = checks.instance("backend", backend, nn.Module, "a torch module")

    def features(self, scene: torch.Tensor) -> torch.Tensor:
        """What the camera delivers to the backend."""
        features: torch.Tensor = self.frontend(scene)
        return features

    def forward(self, scene: torch.Tensor) -> torch.Tensor:
        """Scenes [n, c, y, x] to decisions."""
        out: torch.Tensor = self.backend(self.frontend(scene))
        return out

    @property
    def optics(self) -> OpticalConv2d:
        """The frontend, where it is a convolution by point spread functions.

        Raises:
            InvalidArgument: it is something else.
        """
        if not isinstance(self.frontend, OpticalConv2d):
            raise InvalidArgument("frontend", "an OpticalConv2d", type(self.frontend).__name__)
        return self.frontend

    def freeze_frontend(self, frozen: bool = True) -> Self:
        """Stop (or resume) training the optics, as fabrication does; returns the network itself."""
        self.frontend.requires_grad_(not frozen)
        return self
