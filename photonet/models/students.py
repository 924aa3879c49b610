"""Optical students, and the two baselines with the same pixels and the same backend."""

from __future__ import annotations

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..nn import HybridNetwork, OpticalConv2d

__all__ = ["compressed_meta", "ideal_lenses", "random_psfs"]


def compressed_meta(
    kernels: int = 8,
    kernel_size: int = 7,
    *,
    binning: int = 4,
    hidden: int = 128,
    classes: int = 10,
    image: int = 28,
) -> HybridNetwork:
    """The compressed meta-optical encoder: one linear optical convolution and two dense layers.

    With the default arguments 51,986 parameters, of which 392 are optical. Source of the layout:
    arXiv 2406.06534 and Table 2 of arXiv 2508.08421 (8 kernels 7 x 7, 2 dense layers, 0.05 M). The
    papers leave the readout open: here the mean over ``binning`` x ``binning`` pixels, which a sensor
    does by itself.

    Args:
        kernels: signed kernels (each needs two PSFs).
        kernel_size: pixels along each axis.
        binning: sensor pixels per feature along each axis.
        hidden: width of the first dense layer.
        classes: number of outputs.
        image: pixels of the square scene along each axis.

    Shape:
        [n, 1, image, image] -> [n, classes] (logits).

    Raises:
        InvalidArgument: counts below one, an even kernel, a binning that does not divide the image.

    Example:
        >>> sum(p.numel() for p in compressed_meta().parameters())
        51986
    """
    sizes = {"kernels": kernels, "hidden": hidden, "classes": classes, "image": image, "binning": binning}
    for name, value in sizes.items():
        checks.count(name, value)
    if image % binning:
        raise InvalidArgument("binning", f"a divisor of the image's {image} pixels", binning)
    features = kernels * (image // binning) ** 2
    backend = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    return HybridNetwork(OpticalConv2d(1, kernels, kernel_size, binning), backend)


def random_psfs(student: HybridNetwork, generator: torch.Generator) -> HybridNetwork:
    """Give a student random kernels and fix them: what an undesigned diffuser would do.

    Each PSF pixel is drawn uniformly from [0, 1) for both captures, so a signed kernel is the
    difference of two (Table 5 of arXiv 2508.08421 uses random PSFs as its capacity baseline).

    Args:
        student: a network with an `OpticalConv2d` in front; changed in place.
        generator: source of the draw.

    Returns:
        The same network, frontend frozen.

    Example:
        >>> network = random_psfs(compressed_meta(), torch.Generator().manual_seed(0))
        >>> network.frontend.weight.requires_grad
        False
    """
    frontend = student.optics
    shape = (2, *frontend.weight.shape)
    positive, negative = torch.rand(shape, generator=generator, device=generator.device)
    frontend.set_kernels((positive - negative).to(frontend.weight) / shape[-1])
    return student.freeze_frontend()


def ideal_lenses(student: HybridNetwork) -> HybridNetwork:
    """Give a student an array of perfect lenses and fix it: the same pixels without any computing by light.

    Every channel is a sharp image, displaced by another fraction of a sensor bin, so that the array
    sees as much of the scene as its pixels allow (displacements on a checkerboard of the bin, repeated
    when there are more channels than places).

    Args:
        student: a network with an `OpticalConv2d` in front; changed in place.

    Returns:
        The same network, frontend frozen.

    Example:
        >>> network = ideal_lenses(compressed_meta())
        >>> int(network.frontend.weight.count_nonzero())
        8
    """
    frontend = student.optics
    channels, colours, size, _ = frontend.weight.shape
    bin_size = frontend.binning
    places = [(y, x) for y in range(bin_size) for x in range(bin_size)]
    places.sort(key=lambda place: (sum(place) % 2, place))  # one colour of the checkerboard first
    kernels = torch.zeros_like(frontend.weight)
    for channel in range(channels):
        y, x = places[channel % len(places)]
        # offsets are taken about the middle of the bin and stay inside the kernel
        row = min(max(size // 2 + y - bin_size // 2, 0), size - 1)
        column = min(max(size // 2 + x - bin_size // 2, 0), size - 1)
        kernels[channel, channel % colours, row, column] = 1.0
    frontend.set_kernels(kernels)
    return student.freeze_frontend()
