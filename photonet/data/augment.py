"""More views of the same pictures: small rotations, zooms and displacements; crops and flips."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .. import checks
from ..errors import InvalidArgument
from .images import Images

__all__ = ["augmented", "cropped", "random_moves"]


def random_moves(
    n: int,
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    rotation: float,
    scale: float,
    shift: float,
) -> torch.Tensor:
    """Small rotations, zooms and displacements, as `torch.nn.functional.affine_grid` wants them.

    Args:
        n: how many.
        size: rows and columns of a picture.
        generator: source of the draws, on the CPU.
        rotation: largest angle in rad, either way.
        scale: largest relative change of size, either way.
        shift: largest displacement along each axis in pixels, either way.

    Returns:
        [n, 2, 3], from places in the moved picture to places in the original.

    Raises:
        InvalidArgument: a negative limit, a change of size beyond 1, no pixels, or no generator.

    Example:
        >>> still = random_moves(1, (8, 8), torch.Generator(), rotation=0.0, scale=0.0, shift=0.0)
        >>> bool((still[0] == torch.eye(2, 3)).all())
        True
    """
    limits = {"rotation": rotation, "scale": checks.fraction("scale", scale), "shift": shift}
    for name, limit in limits.items():
        checks.non_negative(name, limit)
    height, width = (checks.count("size", side) for side in checks.pair("size", size))
    checks.instance("generator", generator, torch.Generator, "a torch.Generator")
    draw = 2 * torch.rand(4, n, generator=generator) - 1
    angle, zoom = rotation * draw[0], 1 + scale * draw[1]
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # affine_grid counts from -1 to 1 across the picture
    rows = [
        torch.stack([cos, -sin * height / width, 2 * shift / width * draw[2]], dim=-1),
        torch.stack([sin * width / height, cos, 2 * shift / height * draw[3]], dim=-1),
    ]
    return torch.stack(rows, dim=1)


def augmented(
    images: Images,
    copies: int,
    generator: torch.Generator,
    *,
    rotation: float = 0.25,
    scale: float = 0.15,
    shift: float = 2.0,
) -> Images:
    """The pictures, followed by ``copies`` randomly moved versions of each.

    Every copy is rotated, zoomed and displaced by uniform draws within the given limits, with bilinear
    interpolation and darkness outside.

    Args:
        images: pictures with one class each.
        copies: versions of every picture, besides the picture itself.
        generator: source of the draws, on the CPU.
        rotation: largest angle in rad, either way.
        scale: largest relative change of size, either way.
        shift: largest displacement along each axis in pixels, either way.

    Returns:
        ``(copies + 1)`` times as many pictures; the first ones are the originals.

    Raises:
        InvalidArgument: a negative limit, no copies, one class a pixel, or no generator.

    Example:
        >>> from photonet.data import digits
        >>> train = digits().train
        >>> len(augmented(train, 2, torch.Generator().manual_seed(0))) == 3 * len(train)
        True
    """
    checks.count("copies", copies)
    checks.instance("images", images, Images, "Images")
    if images.labels.ndim != 1:
        raise InvalidArgument("images", "pictures with one class each", "labels of pixels, which would move")
    x = images.images
    views = [x]
    for _ in range(copies):
        moves = random_moves(len(x), images.shape[1:], generator, rotation=rotation, scale=scale, shift=shift)
        where = F.affine_grid(moves.to(x), list(x.shape), align_corners=False)
        views.append(F.grid_sample(x, where, align_corners=False))
    pixels = (torch.cat(views).clamp(0, 1) * 255).round().to(torch.uint8)
    return Images(pixels, images.labels.repeat(copies + 1), images.classes, f"{images.name}, augmented")


def cropped(
    x: torch.Tensor, generator: torch.Generator, *, shift: int = 2, flip: bool = True
) -> torch.Tensor:
    """Every picture displaced by whole pixels and, every other time, seen in a mirror: crops and flips.

    Darkness moves in from the border. Made to be passed to `photonet.distill` as ``views``.

    Args:
        x: pictures [n, c, y, x].
        generator: source of the draws, on the CPU.
        shift: largest displacement along each axis in pixels, either way.
        flip: exchange left and right with probability 1/2; not for pictures in which that matters (digits).

    Returns:
        [n, c, y, x].

    Raises:
        InvalidArgument: a negative displacement, other axes, or no generator.

    Example:
        >>> x = torch.arange(3.0).reshape(1, 1, 1, 3)
        >>> cropped(x, torch.Generator().manual_seed(0), shift=0, flip=True).flatten().tolist()
        [2.0, 1.0, 0.0]
    """
    checks.count("shift", shift, least=0)
    checks.instance("generator", generator, torch.Generator, "a torch.Generator")
    if checks.instance("x", x, torch.Tensor, "pictures as a tensor").ndim != 4:
        raise InvalidArgument("x", "pictures [n, c, y, x]", f"shape {tuple(x.shape)}")
    n, channels, height, width = x.shape
    mirrored = torch.rand(n, generator=generator).to(x.device) < (0.5 if flip else 0.0)
    corner = torch.randint(2 * shift + 1, (2, n, 1), generator=generator).to(x.device)
    x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    rows = (corner[0] + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (corner[1] + torch.arange(width, device=x.device))[:, None, None, :]
    every, colours = (torch.arange(count, device=x.device) for count in (n, channels))
    return F.pad(x, (shift,) * 4)[every[:, None, None, None], colours[None, :, None, None], rows, columns]
