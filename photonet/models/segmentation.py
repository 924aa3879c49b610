"""Optical students that say what every pixel is, and their digital teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..nn import HybridNetwork
from .frontends import SideBySide
from .readout import camera_and_readout

__all__ = ["extreme_meta", "polychromatic_segmentation", "unet"]


def polychromatic_segmentation(
    kernels: Sequence[int] = (8, 16, 32),
    kernel_size: int = 3,
    *,
    width: int = 128,
    context: Sequence[int] = (1, 2, 4),
    classes: int = 2,
    colours: int = 3,
    readout: str = "relu",
) -> HybridNetwork:
    """The polychromatic segmentation student: kernels at three scales, and up-convolutions.

    With the default arguments 571,706 parameters, of which 1,512 are optical. Table 2 of arXiv 2508.08421
    gives 56 kernels 3 x 3 (8 + 16 + 32) and 1.06 M, and leaves the rest open. Here the kernels of scale s
    (0, 1, 2) are spots 2^s pixels apart behind one lens array, read with one feature on 2^(s+1) pixels; the
    backend goes from the finest maps down to the coarsest, taking in the coarser ones, sees them through
    dilated convolutions and goes up, as a U-Net does whose first layers are light.

    Args:
        kernels: signed kernels of each scale, the finest first.
        kernel_size: spots along each axis.
        width: channels of the backend at the coarsest scale; half as many at each finer one.
        context: dilations of the backend's convolutions at the coarsest scale.
        classes: number of outputs per pixel.
        colours: of the scene.
        readout: ``linear``, ``relu`` or ``maxpool``, see `camera_and_readout`.

    Shape:
        [n, colours, y, x] -> [n, classes, y, x]; y and x multiples of 2 to the number of scales.

    Raises:
        InvalidArgument: counts below one, no scale, no context, an even kernel, a scene of another size.
        UnknownName: no such readout.

    Example:
        >>> polychromatic_segmentation()(torch.rand(2, 3, 32, 40)).shape
        torch.Size([2, 2, 32, 40])
    """
    fronts, reads, channels = [], [], []
    for scale, count in enumerate(checks.counts("kernels", kernels)):
        front, layers, depth = camera_and_readout(colours, count, kernel_size, pool=2, readout=readout)
        fronts.append(_coarser(front, 2**scale))
        reads.append(nn.Sequential(*layers))
        channels.append(depth)
    if not fronts:
        raise InvalidArgument("kernels", "one number of kernels for each scale", kernels)
    return HybridNetwork(SideBySide(fronts), _DownAndUp(reads, channels, width, context, classes))


def extreme_meta(
    kernels: tuple[int, int] = (16, 16),
    kernel_sizes: tuple[int, int] = (11, 5),
    *,
    width: int = 64,
    context: Sequence[int] = (1, 2, 4, 8),
    classes: int = 2,
    colours: int = 3,
    readout: str = "relu",
) -> HybridNetwork:
    """ExtremeMETA: two optics side by side, a coarse one for what and a fine one for where.

    With the default arguments 129,976 parameters, of which 7,008 are optical. Architecture:
    arXiv 2405.17568, large kernels in front of a network whose scores are the sum of a coarse and a fine
    path. The coarse optic has kernels of wide spots and one feature on 8 x 8 pixels, the fine one small
    kernels and one feature on 2 x 2; widths are ours.

    Args:
        kernels: signed kernels of the coarse and of the fine optic.
        kernel_sizes: spots along each axis of the coarse kernels (4 pixels apart) and of the fine ones.
        width: channels of the coarse path.
        context: dilations of the coarse path's convolutions.
        classes: number of outputs per pixel.
        colours: of the scene.
        readout: ``linear``, ``relu`` or ``maxpool``, see `camera_and_readout`.

    Shape:
        [n, colours, y, x] -> [n, classes, y, x]; y and x multiples of 8.

    Raises:
        InvalidArgument: counts below one, no context, an even kernel, a scene of another size.
        UnknownName: no such readout.

    Example:
        >>> extreme_meta()(torch.rand(2, 3, 32, 40)).shape
        torch.Size([2, 2, 32, 40])
    """
    checks.count("classes", classes)
    many, few = checks.counts("kernels", kernels, number=2)
    wide, narrow = checks.counts("kernel_sizes", kernel_sizes, number=2)
    coarse, coarse_read, deep = camera_and_readout(colours, many, wide, pool=2, readout=readout)
    fine, fine_read, flat = camera_and_readout(colours, few, narrow, pool=2, readout=readout)
    backend = _CoarseAndFine(
        nn.Sequential(*coarse_read, *_context(deep, width, context), nn.Conv2d(width, classes, 1)),
        nn.Sequential(*fine_read, _block(flat, width // 4), nn.Conv2d(width // 4, classes, 1)),
        classes,
    )
    return HybridNetwork(SideBySide([_coarser(coarse, 4), fine]), backend)


def unet(classes: int = 2, colours: int = 3, *, width: int = 24, depth: int = 3) -> nn.Module:
    """A U-Net with batch normalisation (Ronneberger et al., MICCAI 2015, arXiv 1505.04597).

    With the default arguments 1,084,706 parameters.

    Args:
        classes: number of outputs per pixel.
        colours: of the image.
        width: channels of the finest scale; doubled at each step down.
        depth: steps down.

    Shape:
        [n, colours, y, x] -> [n, classes, y, x]; y and x multiples of 2^depth.

    Raises:
        InvalidArgument: counts below one, an image of another size.

    Example:
        >>> sum(p.numel() for p in unet().parameters())
        1084706
    """
    checks.count("classes", classes)
    checks.count("colours", colours)
    return _UNet(classes, colours, checks.count("width", width), checks.count("depth", depth))


def _block(before: int, after: int, dilation: int = 1) -> nn.Sequential:
    """Convolution 3 x 3, batch normalisation, ReLU."""
    convolution = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _context(before: int, width: int, dilations: Sequence[int]) -> list[nn.Module]:
    """Convolutions that see further and further."""
    checks.count("width", width)
    dilations = checks.counts("context", dilations)
    if not dilations:
        raise InvalidArgument("context", "one dilation or more", dilations)
    widths = [before, *[width] * len(dilations)]
    return [_block(a, b, d) for a, b, d in zip(widths[:-1], widths[1:], dilations, strict=True)]


def _coarser(front: nn.Module, scale: int) -> nn.Module:
    """The optic with its kernels' spots ``scale`` pixels apart, on a sensor with pixels as large.

    The mean over the pixels first and the kernel after it is the same: both are convolutions, and the spots
    are whole pixels apart.
    """
    return front if scale == 1 else nn.Sequential(nn.AvgPool2d(scale), front)


def _check_size(finest: torch.Tensor, coarsest: torch.Tensor, times: int) -> None:
    """Refuse scenes of which a pool cut off a border, as the scores would no longer fit on the scene.

    The finest maps have the scene's pixels, or half as many along each axis where the sensor bins them.
    """
    for rows, few in zip(finest.shape[-2:], coarsest.shape[-2:], strict=True):
        if rows not in (times * few, 2 * times * few):
            raise InvalidArgument(
                "scene", f"rows and columns in multiples of {2 * times}", f"maps {tuple(finest.shape[-2:])}"
            )


class _DownAndUp(nn.Module):
    """From the finest maps down to the coarsest and up again to the scene's pixels.

    A coarse optical map is linear in the scene. What a digital layer has seen in the finer maps is not, so it
    is carried down beside them.
    """

    def __init__(
        self,
        reads: Sequence[nn.Module],
        channels: Sequence[int],
        width: int,
        context: Sequence[int],
        classes: int,
    ) -> None:
        super().__init__()
        checks.count("classes", classes)
        checks.count("width", width)
        widths = [max(8, width // 2**step) for step in range(1, len(channels))][::-1]
        inputs = [depth + carried for depth, carried in zip(channels, [0, *widths], strict=True)]
        self.reads = nn.ModuleList(reads)
        self.downs = nn.ModuleList(_block(a, b) for a, b in zip(inputs[:-1], widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.coarsest = nn.Sequential(*_context(inputs[-1], width, context))
        self.ups, self.joins = nn.ModuleList(), nn.ModuleList()
        for narrow in reversed(widths):
            self.ups.append(nn.ConvTranspose2d(width, narrow, 2, stride=2))
            self.joins.append(_block(2 * narrow, narrow))
            width = narrow
        self.last = nn.ConvTranspose2d(width, classes, 2, stride=2)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Scores of every pixel."""
        x, *coarser = [read(m) for read, m in zip(self.reads, maps, strict=True)]
        _check_size(maps[0], coarser[-1] if coarser else x, 2 ** len(coarser))
        skips: list[torch.Tensor] = []
        for down, seen in zip(self.downs, coarser, strict=True):
            skips.append(down(x))
            x = torch.cat([seen, self.pool(skips[-1])], dim=1)
        x = self.coarsest(x)
        for up, join, skip in zip(self.ups, self.joins, reversed(skips), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        scores: torch.Tensor = self.last(x)
        return scores


class _CoarseAndFine(nn.Module):
    """The sum of the scores of both paths, brought to the scene's pixels."""

    def __init__(self, coarse: nn.Module, fine: nn.Module, classes: int) -> None:
        super().__init__()
        self.coarse, self.fine = coarse, fine
        self.up = nn.ConvTranspose2d(classes, classes, 4, stride=4)
        self.last = nn.ConvTranspose2d(classes, classes, 2, stride=2)

    def forward(self, maps: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Scores of every pixel."""
        coarse, fine = self.coarse(maps[0]), self.fine(maps[1])
        _check_size(maps[1], coarse, 4)
        scores: torch.Tensor = self.last(self.up(coarse) + fine)
        return scores


class _UNet(nn.Module):
    def __init__(self, classes: int, colours: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**step for step in range(depth + 1)]
        self.downs = nn.ModuleList(
            nn.Sequential(_block(a, b), _block(b, b))
            for a, b in zip([colours, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.joins = nn.ModuleList(
            nn.Sequential(_block(2 * w, w), _block(w, w)) for w in reversed(widths[:-1])
        )
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of every pixel."""
        times = 2 ** len(self.ups)
        if any(side % times for side in image.shape[-2:]):
            raise InvalidArgument(
                "image", f"rows and columns in multiples of {times}", tuple(image.shape[-2:])
            )
        x = image
        skips: list[torch.Tensor] = []
        for down in self.downs:
            x = down(self.pool(x) if skips else x)
            skips.append(x)
        for up, join, skip in zip(self.ups, self.joins, reversed(skips[:-1]), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        scores: torch.Tensor = self.last(x)
        return scores
