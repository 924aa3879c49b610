"""Frontends that a student may have beside one `photonet.nn.OpticalConv2d`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..grid import Grid

__all__ = ["PictureToField", "SideBySide", "SpectralConv2d"]


class SideBySide(nn.ModuleList):
    """Several optics before one sensor, each imaging the same scene on pixels of its own.

    Args:
        fronts: modules from scenes to feature maps.

    Shape:
        [n, c, y, x] -> one tensor of feature maps from each, in a tuple.

    Raises:
        InvalidArgument: no modules, or something else among them.

    Example:
        >>> fronts = SideBySide([nn.AvgPool2d(2), nn.AvgPool2d(4)])
        >>> [tuple(maps.shape) for maps in fronts(torch.rand(1, 3, 8, 8))]
        [(1, 3, 4, 4), (1, 3, 2, 2)]
    """

    def __init__(self, fronts: Iterable[nn.Module]) -> None:
        parts = [checks.instance("fronts", front, nn.Module, "torch modules") for front in fronts]
        if not parts:
            raise InvalidArgument("fronts", "at least one module", "none")
        super().__init__(parts)

    def forward(self, scene: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What each part of the sensor sees."""
        return tuple(front(scene) for front in self)


class SpectralConv2d(nn.Module):
    r"""Convolution by a 4f system: each kernel is a filter in the Fourier plane, as large as the scene.

    .. math:: y_k = \sum_c \mathcal{F}^{-1}[H_{kc}\, \mathcal{F} x_c]

    The transfer function H belongs to a real kernel, so half of it is stored. The convolution is cyclic,
    as on a scene that fills its window. The 4f image is taken upright: a camera is turned by half a turn.
    Linear counterpart of a spectral network: arXiv 2102.13323.

    Args:
        in_channels: colours of the scene.
        out_channels: signed kernels.
        size: rows and columns of the scene, one number or (y, x).

    Shape:
        [n, in_channels, y, x] -> [n, out_channels, y, x].

    Raises:
        InvalidArgument: counts below one.

    Example:
        >>> layer = SpectralConv2d(1, 4, 28)
        >>> layer(torch.rand(2, 1, 28, 28)).shape, tuple(layer.weight.shape)
        (torch.Size([2, 4, 28, 28]), (4, 1, 28, 15, 2))
    """

    def __init__(self, in_channels: int, out_channels: int, size: int | Sequence[int]) -> None:
        super().__init__()
        rows, columns = (checks.count("size", side) for side in checks.pair("size", size))
        self.size = rows, columns
        shape = checks.count("out_channels", out_channels), checks.count("in_channels", in_channels)
        # the spectrum of white noise, so that the image of a scene has about the scene's contrast
        kernel = torch.randn(*shape, rows, columns) / (rows * columns * shape[1]) ** 0.5
        self.weight = nn.Parameter(torch.view_as_real(torch.fft.rfft2(kernel)).contiguous())

    def forward(self, scene: torch.Tensor) -> torch.Tensor:
        """Signed images."""
        if scene.ndim != 4 or scene.shape[1:] != (self.weight.shape[1], *self.size):
            raise GridMismatch(
                "scene",
                f"shape [n, {self.weight.shape[1]}, {self.size[0]}, {self.size[1]}]",
                f"{tuple(scene.shape)}",
            )
        spectrum = torch.fft.rfft2(scene)
        product = torch.einsum("ncvu,kcvu->nkvu", spectrum, torch.view_as_complex(self.weight))
        return torch.fft.irfft2(product, s=self.size)

    def kernels(self) -> torch.Tensor:
        """The kernels [k, c, y, x] that the filters act as, the axis at sample (0, 0)."""
        return torch.fft.irfft2(torch.view_as_complex(self.weight), s=self.size)

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, size={self.size}"

    def ntk_factors(self, scene: torch.Tensor, delta: torch.Tensor) -> dict[str, torch.Tensor]:
        """Per-sample gradients of the filters, the extension point of `photonet.ntk.layers`.

        Args:
            scene: [n, c, y, x], the layer's input.
            delta: [n, m, k, y, x], gradients of m output directions at the layer's output.

        Returns:
            ``{"weight": [n, m, k, c, y, x // 2 + 1, 2]}``.
        """
        rows, columns = self.size
        # the stored half stands for both halves, but for the columns that are their own mirror image
        twice = torch.full((columns // 2 + 1,), 2.0, dtype=scene.dtype, device=scene.device)
        twice[0] = 1.0
        if columns % 2 == 0:
            twice[-1] = 1.0
        seen = torch.fft.rfft2(scene).conj() * twice / (rows * columns)
        gradient = torch.einsum("nmkvu,ncvu->nmkcvu", torch.fft.rfft2(delta), seen)
        return {"weight": torch.view_as_real(gradient)}


class PictureToField(nn.Module):
    """A picture shown by an amplitude modulator: each pixel a block of samples, in the middle of the grid.

    Args:
        grid: samples of the field.
        magnification: samples along each axis of one pixel.

    Shape:
        real [n, c, y, x] -> complex [n, c, Y, X] on ``grid``; c are the wavelengths.

    Raises:
        InvalidArgument: a picture that does not fit on the grid.

    Example:
        >>> field = PictureToField(Grid(64, 8e-6), 2)(torch.ones(1, 1, 28, 28))
        >>> field.shape, float(field.abs().sum())
        (torch.Size([1, 1, 64, 64]), 3136.0)
    """

    def __init__(self, grid: Grid, magnification: int = 1) -> None:
        super().__init__()
        self.grid = checks.instance("grid", grid, Grid, "a Grid")
        self.magnification = checks.count("magnification", magnification)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """The field behind the modulator, flat phase."""
        m = self.magnification
        blocks = picture.repeat_interleave(m, dim=-2).repeat_interleave(m, dim=-1)
        missing = [side - have for side, have in zip(self.grid.shape, blocks.shape[-2:], strict=True)]
        if min(missing) < 0:
            raise InvalidArgument(
                "picture",
                f"at most {tuple(side // m for side in self.grid.shape)} pixels",
                tuple(picture.shape[-2:]),
            )
        (top, bottom), (left, right) = ((gap // 2, gap - gap // 2) for gap in missing)
        amplitude = F.pad(blocks, (left, right, top, bottom))
        return torch.complex(amplitude, torch.zeros_like(amplitude))
