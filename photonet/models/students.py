"""Optical students for classification: one optical layer, and as little digital work after it as possible."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from ..nn import DiffractiveStack, HybridNetwork
from .frontends import PictureToField, SpectralConv2d
from .readout import Flatten, camera_and_readout

__all__ = ["compressed_meta", "diffractive_classifier", "polychromatic_meta", "spectral_4f"]


def compressed_meta(
    kernels: int = 8,
    kernel_size: int = 7,
    *,
    binning: int = 4,
    hidden: int = 128,
    classes: int = 10,
    image: int = 28,
    readout: str = "linear",
) -> HybridNetwork:
    """The compressed meta-optical encoder: one linear optical convolution and two dense layers.

    With the default arguments 51,986 parameters, of which 392 are optical. Source of the layout:
    arXiv 2406.06534 and Table 2 of arXiv 2508.08421 (8 kernels 7 x 7, 2 dense layers, 0.05 M). The
    papers leave the readout open: here the mean over ``binning`` x ``binning`` pixels, which a sensor
    does by itself.

    Args:
        kernels: signed kernels (each needs two PSFs).
        kernel_size: pixels along each axis.
        binning: pixels per feature along each axis.
        hidden: width of the first dense layer.
        classes: number of outputs.
        image: pixels of the square scene along each axis.
        readout: ``linear``, ``relu`` or ``maxpool``, see `camera_and_readout`.

    Shape:
        [n, 1, image, image] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one, an even kernel, a binning that does not divide the image.
        GridMismatch: with the first scene of another size.
        UnknownName: no such readout.

    Example:
        >>> sum(p.numel() for p in compressed_meta().parameters())
        51986
    """
    checks.count("kernels", kernels)
    checks.count("hidden", hidden)
    checks.count("classes", classes)
    positions = _positions(image, "binning", binning)
    frontend, layers, channels = camera_and_readout(1, kernels, kernel_size, pool=binning, readout=readout)
    width = channels * positions
    dense = [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return HybridNetwork(frontend, nn.Sequential(*layers, Flatten((1, image, image), width), *dense))


def polychromatic_meta(
    kernels: int = 16,
    kernel_size: int = 7,
    *,
    pool: int = 4,
    mixing: int | None = None,
    hidden: Sequence[int] = (704, 224),
    classes: int = 10,
    image: int = 32,
    colours: int = 3,
    readout: str = "maxpool",
) -> HybridNetwork:
    """The polychromatic meta-optical encoder: RGB kernels and three dense layers.

    With the default arguments 1,606,970 parameters, of which 2,352 are optical and 1,604,618 in the backend
    (883,626 with the readout ``linear``). Source of the layout: Choi et al., Nat. Commun. 16, 5623 (2025),
    and Table 2 of arXiv 2508.08421 (16 kernels 7 x 7 RGB, 3 dense layers, 1.62 M). The papers leave the
    readout and the widths of the dense layers open.

    A digital convolution 3 x 3 in front of the dense layers (``mixing``) shares its weights over positions:
    ``mixing=64, hidden=(120,)`` has a tenth of the backend's parameters (143,106) and four fifths of its
    products (1.30 against 1.60 million).

    Args:
        kernels: signed kernels (each needs two PSFs).
        kernel_size: pixels along each axis.
        pool: pixels per feature along each axis.
        mixing: channels of the digital convolution, which is followed by batch normalisation, ReLU and max
            pooling over 2 x 2 features; None for no convolution.
        hidden: widths of the dense layers before the last, each with batch normalisation and ReLU.
        classes: number of outputs.
        image: pixels of the square scene along each axis.
        colours: of the scene.
        readout: ``linear``, ``relu`` or ``maxpool``, see `camera_and_readout`.

    Shape:
        [n, colours, image, image] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one, an even kernel, a pool that does not divide the image.
        GridMismatch: with the first scene of another size.
        UnknownName: no such readout.

    Example:
        >>> sum(p.numel() for p in polychromatic_meta().parameters())
        1606970
    """
    checks.count("kernels", kernels)
    checks.count("classes", classes)
    positions = _positions(image, "pool", pool)
    frontend, layers, channels = camera_and_readout(colours, kernels, kernel_size, pool=pool, readout=readout)
    if mixing is not None:
        positions = _positions(image, "pool", 2 * pool)
        layers = [*layers, *_mixing(channels, checks.count("mixing", mixing))]
        channels = mixing
    width = channels * positions
    dense: list[nn.Module] = [Flatten((colours, image, image), width)]
    for wide in checks.counts("hidden", hidden):
        dense += [nn.Linear(width, wide), nn.BatchNorm1d(wide), nn.ReLU()]
        width = wide
    return HybridNetwork(frontend, nn.Sequential(*layers, *dense, nn.Linear(width, classes)))


def spectral_4f(
    kernels: int = 8, *, binning: int = 4, classes: int = 10, image: int = 28, colours: int = 1
) -> HybridNetwork:
    """The linear student of a 4f system: filters in the Fourier plane, binning, one dense layer.

    With the default arguments 10,650 parameters, of which 6,720 are optical (8 half spectra of 28 x 15
    complex numbers). Everything up to the scores is linear in the scene, as in the linear counterpart of a
    spectral network of arXiv 2102.13323.

    Args:
        kernels: signed filters, each as large as the scene.
        binning: sensor pixels per feature along each axis.
        classes: number of outputs.
        image: pixels of the square scene along each axis.
        colours: of the scene.

    Shape:
        [n, colours, image, image] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one, a binning that does not divide the image.
        GridMismatch: with the first scene of another size.

    Example:
        >>> sum(p.numel() for p in spectral_4f().parameters())
        10650
    """
    checks.count("classes", classes)
    positions = _positions(image, "binning", binning)
    frontend = nn.Sequential(SpectralConv2d(colours, kernels, image), nn.AvgPool2d(binning))
    return HybridNetwork(frontend, nn.Sequential(nn.Flatten(), nn.Linear(kernels * positions, classes)))


def diffractive_classifier(
    layers: int = 3,
    *,
    classes: int = 10,
    samples: int = 64,
    magnification: int = 2,
    pitch: float = 8e-6,
    wavelength: float = 525e-9,
    distance: float | None = None,
    seed: int = 0,
) -> HybridNetwork:
    """The all-optical classifier: a picture as amplitude, phase masks in free space, a region per class.

    With the default arguments 12,288 parameters, all optical (3 masks of 64 x 64). The backend does
    nothing. Architecture: Lin et al., Science 361, 1004 (2018); see `photonet.nn.DiffractiveStack`.

    Args:
        layers: phase masks.
        classes: number of outputs.
        samples: of each plane along each axis.
        magnification: samples along each axis of one pixel of the picture.
        pitch: of the samples in m.
        wavelength: in m.
        distance: between neighbouring planes in m; by default that at which the light of one sample has
            spread over a quarter of the window, so that every mask connects to all of its neighbour's middle.
        seed: of the starting phases.

    Shape:
        [n, 1, y, x] -> [n, classes] (log-probabilities); pictures up to samples / magnification pixels.

    Raises:
        InvalidArgument: counts below one, a picture that does not fit.

    Example:
        >>> sum(p.numel() for p in diffractive_classifier().parameters())
        12288
    """
    grid = Grid(checks.count("samples", samples), checks.positive("pitch", pitch))
    if distance is None:
        # a sample diffracts into the half angle wavelength / (2 pitch)
        half_angle = math.asin(min(1.0, checks.positive("wavelength", wavelength) / (2 * pitch)))
        distance = samples * pitch / 8 / math.tan(half_angle)
    stack = DiffractiveStack(grid, wavelength, distance, layers=layers, classes=classes, seed=seed)
    return HybridNetwork(nn.Sequential(PictureToField(grid, magnification), stack), nn.Identity())


def _mixing(before: int, after: int) -> list[nn.Module]:
    """A digital convolution of the features."""
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


def _positions(image: int, name: str, pool: int) -> int:
    """Features of one map of a square scene."""
    checks.count("image", image)
    if image % checks.count(name, pool):
        raise InvalidArgument(name, f"a divisor of the image's {image} pixels", pool)
    return (image // pool) ** 2
