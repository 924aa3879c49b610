"""What every claim is compared with: the same pixels and the same backend behind other optics."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..nn import HybridNetwork, OpticalConv2d, replace_optics
from ..ntk.directions import source

__all__ = ["digital_twin", "ideal_lenses", "random_psfs"]


def random_psfs(student: HybridNetwork, generator: torch.Generator) -> HybridNetwork:
    """Give a student random kernels and fix them: what an undesigned diffuser would do.

    Each PSF pixel is drawn uniformly from [0, 1) for both captures, so a signed kernel is the
    difference of two (Table 5 of arXiv 2508.08421 uses random PSFs as its capacity baseline).

    Args:
        student: a network with one or several `OpticalConv2d` in front; changed in place.
        generator: source of the draw.

    Returns:
        The same network, frontend frozen.

    Raises:
        InvalidArgument: no `OpticalConv2d` in front.

    Example:
        >>> from photonet.models import compressed_meta
        >>> network = random_psfs(compressed_meta(), torch.Generator().manual_seed(0))
        >>> network.frontend.weight.requires_grad
        False
    """
    source(generator, "random kernels")
    for optics in _all_optics(student):
        shape = (2, *optics.weight.shape)
        positive, negative = torch.rand(shape, generator=generator, device=generator.device)
        optics.set_kernels((positive - negative).to(optics.weight) / shape[-1])
    return student.freeze_frontend()


def ideal_lenses(student: HybridNetwork) -> HybridNetwork:
    """Give a student an array of perfect lenses and fix it: the same pixels without any computing by light.

    Every channel is a sharp image in one colour, displaced by another fraction of a sensor bin, so that the
    array sees as much of the scene as its pixels allow (displacements on a checkerboard of the bin, repeated
    when there are more channels than places). Colours take turns, and all colours see a place before the
    next place is used.

    Args:
        student: a network with one or several `OpticalConv2d` in front; changed in place.

    Returns:
        The same network, frontend frozen.

    Raises:
        InvalidArgument: no `OpticalConv2d` in front.

    Example:
        >>> from photonet.models import compressed_meta
        >>> network = ideal_lenses(compressed_meta())
        >>> int(network.frontend.weight.count_nonzero())
        8
    """
    for optics in _all_optics(student):
        channels, colours, size, _ = optics.weight.shape
        bin_size = optics.binning
        places = [(y, x) for y in range(bin_size) for x in range(bin_size)]
        places.sort(key=lambda place: (sum(place) % 2, place))  # one colour of the checkerboard first
        kernels = torch.zeros_like(optics.weight)
        for channel in range(channels):
            y, x = places[channel // colours % len(places)]
            # offsets are taken about the middle of the bin and stay inside the kernel
            row = min(max(size // 2 + y - bin_size // 2, 0), size - 1)
            column = min(max(size // 2 + x - bin_size // 2, 0), size - 1)
            kernels[channel, channel % colours, row, column] = 1.0
        optics.set_kernels(kernels)
    return student.freeze_frontend()


def digital_twin(student: HybridNetwork) -> HybridNetwork:
    """The same layers with the optical convolutions done by a computer: what the optics saves.

    Args:
        student: a network with one or several `OpticalConv2d` in front; it stays as it is.

    Returns:
        A copy whose convolutions are digital (`torch.nn.Conv2d`, mean over bins) and hold the same
        kernels: the same outputs, and as many parameters. All of it is trainable.

    Raises:
        InvalidArgument: no `OpticalConv2d` in front.

    Example:
        >>> from photonet.models import polychromatic_meta
        >>> student, x = polychromatic_meta().eval(), torch.rand(2, 3, 32, 32)
        >>> torch.allclose(digital_twin(student)(x), student(x), atol=1e-5)
        True
    """
    _all_optics(student)
    twin = replace_optics(copy.deepcopy(student.frontend), _digital)
    return HybridNetwork(twin, copy.deepcopy(student.backend)).freeze_frontend(False)


def _digital(optics: OpticalConv2d) -> nn.Module:
    """The same convolution by a computer."""
    k, c, y, x = optics.weight.shape
    before, after = (y - 1 - y // 2, x - 1 - x // 2), (y // 2, x // 2)
    # an even kernel (which a measured one may be) needs more darkness on one side than on the other
    pad = nn.ZeroPad2d((before[1], after[1], before[0], after[0]))
    conv = nn.Conv2d(c, k, (y, x), bias=False).to(optics.weight)
    with torch.no_grad():
        conv.weight.copy_(optics.weight.flip(-2, -1))  # torch correlates
    parts = [pad, conv] + ([nn.AvgPool2d(optics.binning)] if optics.binning > 1 else [])
    return nn.Sequential(*parts).train(optics.training)


def _all_optics(student: HybridNetwork) -> list[OpticalConv2d]:
    checks.instance("student", student, HybridNetwork, "a HybridNetwork: a frontend and a backend")
    found = [part for part in student.frontend.modules() if isinstance(part, OpticalConv2d)]
    if not found:
        raise InvalidArgument(
            "student", "a network with an OpticalConv2d in front", type(student.frontend).__name__
        )
    return found
