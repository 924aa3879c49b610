"""What small changes of a bench do to its mean frames: the linear model behind `DriftMonitor`."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..errors import InvalidArgument

__all__ = ["CHANGES", "Response"]

CHANGES: dict[str, tuple[str, str]] = {
    "gain": ("gain", ""),
    "offset": ("offset", ""),
    "shift_y": ("shift", "pixel"),
    "shift_x": ("shift", "pixel"),
    "defocus": ("defocus", "pixel²"),
}
"""Parameters of the linear model -> the kind of change they belong to, and their unit."""


class Response:
    """What small changes of the bench do to mean frames [n, k, y, x], as a weighted linear model."""

    def __init__(self, mean: torch.Tensor, weight: torch.Tensor) -> None:
        self.templates = _templates(mean)
        self.weighted = self.templates * weight[:, None, None]
        gram = torch.einsum("i...,j...->ij", self.weighted, self.templates)
        size = gram.diagonal().sqrt()
        if not bool((size > 0).all()) or float(torch.linalg.eigvalsh(gram / size / size[:, None])[0]) < 1e-9:
            raise InvalidArgument("reference", "scenes with contrast in y and x", "frames without")
        self.weight, self.covariance = weight, torch.linalg.inv(gram)

    def fit(self, delta: torch.Tensor, bias: torch.Tensor | float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimates [5] of a change of the frames, and the mean weighted square of what they leave over.

        The noise of the mean is in the templates and, with the opposite sign, in the change: a bias of
        the estimates, which must not explain anything either.
        """
        right = torch.einsum("i...,...->i", self.weighted, delta)
        raw = self.covariance @ right
        estimate = raw - bias
        missed = raw - estimate
        total = (delta.square() * self.weight[:, None, None]).sum()
        energy = total - raw @ right + missed @ torch.linalg.solve(self.covariance, missed)
        return estimate, energy.clamp_min(0) / (delta.numel() - len(right))

    def energies(self, change: torch.Tensor, error: torch.Tensor, seen: torch.Tensor) -> dict[str, float]:
        """Of the kinds with a change that is seen: by how much more than noise they shrink the residual."""
        found = {}
        kinds = [kind for kind, _ in CHANGES.values()]
        for kind in dict.fromkeys(kinds):
            of = torch.tensor([k == kind for k in kinds])
            if bool(seen[of].any()):
                block = torch.linalg.inv(self.covariance[of][:, of])
                expected = (block.diagonal() * error[of].square()).sum()
                found[kind] = float(change[of] @ block @ change[of] - expected)
        return found


def _templates(z: torch.Tensor) -> torch.Tensor:
    """Derivatives of frames [n, k, y, x] by the parameters of `CHANGES`, [5, n, k, y, x]."""
    dy, dx = torch.gradient(z, dim=(-2, -1))
    padded = F.pad(z, (1, 1, 1, 1), mode="replicate")
    around = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] + padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2]
    return torch.stack([z, torch.ones_like(z), -dy, -dx, around - 4 * z])
