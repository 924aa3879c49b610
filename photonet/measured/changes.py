"""What small changes of a bench do to its mean frames: the linear model behind `DriftMonitor`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from ..errors import InvalidArgument

__all__ = ["CHANGES", "Response"]

CHANGES: dict[str, tuple[str, str]] = {
    "gain": ("gain", ""),
    "offset": ("offset", ""),
    "shift_y": ("shift", "pixel"),
    "shift_x": ("shift", "pixel"),
    "defocus": ("defocus", ""),
}
"""Parameters that every monitor fits -> the kind of change they belong to, and their unit."""

ALIKE = 1e-4
"""Least eigenvalue of the templates' correlation matrix: below, two changes look the same."""


class Response:
    """What small changes of the bench do to mean frames [n, k, y, x], as a weighted linear model.

    Args:
        mean: the frames at rest.
        weight: of each channel, [k].
        responses: change of the frames per unit of further parameters, or in place of one of `CHANGES`.
    """

    def __init__(
        self, mean: torch.Tensor, weight: torch.Tensor, responses: Mapping[str, torch.Tensor]
    ) -> None:
        table = dict(zip(CHANGES, _templates(mean), strict=True)) | dict(responses)
        self.kinds = [CHANGES[name][0] if name in CHANGES else name for name in table]
        self.templates = torch.stack(list(table.values()))
        self.weighted = self.templates * weight[:, None, None]
        gram = torch.einsum("i...,j...->ij", self.weighted, self.templates)
        size = gram.diagonal().sqrt()
        if not bool((size > 0).all()) or float(torch.linalg.eigvalsh(gram / size / size[:, None])[0]) < ALIKE:
            raise InvalidArgument(
                "reference", "scenes in which all changes look different", "frames without enough contrast"
            )
        self.freedom = mean.numel() - len(table)
        self.power = float((mean.square() * weight[:, None, None]).mean())
        self.weight, self.covariance = weight, torch.linalg.inv(gram)

    def fit(self, delta: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Estimates [c] of a change of the frames, and the mean weighted square of what they leave over."""
        right = torch.einsum("i...,...->i", self.weighted, delta)
        estimate = self.covariance @ right
        left = (delta.square() * self.weight[:, None, None]).sum() - estimate @ right
        return estimate, max(float(left), 0.0) / self.freedom

    def explained(self, estimate: torch.Tensor) -> float:
        """What such an estimate takes from the mean weighted square."""
        return float(estimate @ torch.linalg.solve(self.covariance, estimate)) / self.freedom

    def energies(self, change: torch.Tensor, error: torch.Tensor, seen: torch.Tensor) -> dict[str, float]:
        """Of the kinds with a change that is seen: by how much more than noise they shrink the residual."""
        found = {}
        for kind in dict.fromkeys(self.kinds):
            of = torch.tensor([k == kind for k in self.kinds])
            if bool(seen[of].any()):
                block = torch.linalg.inv(self.covariance[of][:, of])
                expected = (block.diagonal() * error[of].square()).sum()
                found[kind] = float(change[of] @ block @ change[of] - expected)
        return found


def _templates(z: torch.Tensor) -> torch.Tensor:
    """Derivatives of frames [n, k, y, x] by the parameters of `CHANGES`, [5, n, k, y, x]."""
    dy = _slopes(z.shape[-2], z) @ z
    dx = z @ _slopes(z.shape[-1], z).mT
    padded = F.pad(z, (1, 1, 1, 1), mode="replicate")
    around = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] + padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2]
    return torch.stack([z, torch.ones_like(z), -dy, -dx, around - 4 * z])


def _slopes(n: int, like: torch.Tensor) -> torch.Tensor:
    """Takes n samples to the slopes there of the cubic spline through them, [n, n].

    Differences of neighbours are a quarter too small for spots of sigma 0.8 pixels; these are 5 % too small
    there, and right to 1 % from 1.2 pixels on. At the ends the compact scheme of third order (Lele, J.
    Comput. Phys. 103, 16, 1992), as nothing is known of the picture beyond.
    """
    one = torch.eye(n, dtype=like.dtype, device=like.device)
    after, before = one.roll(1, 1), one.roll(-1, 1)
    left, right = 4 * one + after + before, 3 * (after - before)
    left[0], right[0] = 2 * one[0] + 4 * one[1], -5 * one[0] + 4 * one[1] + one[2]
    left[-1], right[-1] = 2 * one[-1] + 4 * one[-2], 5 * one[-1] - 4 * one[-2] - one[-3]
    return torch.linalg.solve(left, right)
