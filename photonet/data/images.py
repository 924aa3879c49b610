"""`Images`: labelled pictures in memory, and fair ways to divide them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from .. import checks
from ..arrays import UNLABELLED, as_labels
from ..errors import InvalidArgument
from ..provenance import tensor_hash

__all__ = ["UNLABELLED", "Images", "Splits", "against_rest", "stratified_split"]


@dataclass(frozen=True, eq=False)
class Images(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Labelled pictures: a torch data set whose parts can also be had as whole tensors.

    Eight-bit pixels stay eight bits until they are asked for, so that 50,000 colour pictures cost
    150 MB, not 600.

    Args:
        pixels: [N, C, y, x], uint8 code values or float32 in [0, 1].
        labels: int64 [N], one class a picture, or [N, y, x], one class a pixel; `UNLABELLED` where none is
            known.
        classes: names of the classes; a label is an index into them.
        name: what to call the set in a table.

    Raises:
        InvalidArgument: another shape or dtype, values outside [0, 1], labels of another length or
            outside the classes.

    Example:
        >>> pictures = Images(torch.zeros(3, 1, 4, 4), torch.tensor([0, 1, 0]), ("zero", "one"), "toy")
        >>> len(pictures), pictures.shape, tuple(pictures[:2][0].shape)
        (3, (1, 4, 4), (2, 1, 4, 4))
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype not in (torch.uint8, torch.float32):
            raise InvalidArgument(
                "pixels", "uint8 or float32 of shape [N, C, y, x]", _describe(self.pixels), "add missing axes"
            )
        if self.pixels.is_floating_point():
            low, high = (v.item() for v in self.pixels.aminmax()) if self.pixels.numel() else (0.0, 0.0)
            if not (low >= 0 and high <= 1):  # NaN fails both
                raise InvalidArgument("pixels", "values in [0, 1]", f"values in [{low:g}, {high:g}]")
        n, _, height, width = self.pixels.shape
        if self.labels.shape not in ((n,), (n, height, width)) or self.labels.dtype != torch.int64:
            raise InvalidArgument(
                "labels", f"int64 of shape [{n}] or [{n}, {height}, {width}]", _describe(self.labels)
            )
        wrong = (self.labels < 0) | (self.labels >= len(self.classes))
        wrong &= self.labels != UNLABELLED
        if wrong.any():
            where = tuple(wrong.nonzero()[0].tolist())
            raise InvalidArgument(
                "labels", f"classes 0 to {len(self.classes) - 1}", f"{int(self.labels[where])} at {where}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Picture(s) as float32 [..., C, y, x] in [0, 1], and label(s), for any index torch takes."""
        return _to_float(self.pixels[index]), self.labels[index]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of one picture."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @cached_property
    def images(self) -> torch.Tensor:
        """All pictures, float32 [N, C, y, x] in [0, 1]; kept once made."""
        return _to_float(self.pixels)

    @cached_property
    def hash(self) -> str:
        """Hash of pixels and labels with their shapes and dtypes: the same data, the same hash."""
        return tensor_hash(self.pixels, self.labels)

    def subset(self, index: slice | Sequence[int] | torch.Tensor) -> Images:
        """The pictures at ``index`` as a set of their own.

        Raises:
            InvalidArgument: no index, or pictures that do not exist.
        """
        expected = f"a slice, a mask or whole numbers of the {len(self)} pictures"
        with checks.reworded("index", expected, repr(index)[:80]):
            if not isinstance(index, (slice, torch.Tensor)):
                numbers = np.atleast_1d(index)
                if numbers.dtype.kind not in "biu" and numbers.size:
                    raise ValueError(f"an array of {numbers.dtype}")
                index = torch.as_tensor(numbers.astype(bool if numbers.dtype.kind == "b" else np.int64))
            elif isinstance(index, torch.Tensor) and index.dtype != torch.bool:
                if (index.is_floating_point() or index.is_complex()) and index.numel():
                    raise ValueError(f"a tensor of {index.dtype}")
                index = torch.atleast_1d(index.to(torch.int64))
            return replace(self, pixels=self.pixels[index], labels=self.labels[index])

    def __repr__(self) -> str:
        channels, height, width = self.shape
        kind = "scenes" if self.labels.ndim > 1 else "pictures"
        return (
            f"<{self.name}: {len(self)} {kind} {channels} x {height} x {width}, {len(self.classes)} classes>"
        )


class Splits(NamedTuple):
    """The three parts of a data set; choices are made on ``val``, ``test`` is looked at once."""

    train: Images
    val: Images
    test: Images


def against_rest(images: Images, one: str) -> Images:
    """The task of telling one class from all others: label 1 for it, 0 for the rest.

    What has no label keeps none.

    Args:
        images: pictures or scenes with several classes.
        one: name of the class to find.

    Raises:
        UnknownName: no such class.

    Example:
        >>> labels = torch.tensor([[[0, 2, UNLABELLED]]])
        >>> scenes = Images(torch.zeros(1, 3, 1, 3), labels, ("sky", "road", "car"), "toy")
        >>> task = against_rest(scenes, "car")
        >>> task.classes, task.labels.flatten().tolist()
        (('rest', 'car'), [0, 1, -100])
    """
    index = images.classes.index(checks.choice("one", one, images.classes))
    labels = torch.where(images.labels == UNLABELLED, UNLABELLED, (images.labels == index).long())
    return Images(images.pixels, labels, ("rest", one), f"{images.name}, {one} against the rest")


def stratified_split(labels: torch.Tensor, fractions: Sequence[float], seed: int) -> list[torch.Tensor]:
    """Divide samples at random so that every part holds every class in the same proportion.

    The parts of one class differ from their exact share by less than one sample. The order within a
    part is random too, so that any prefix of it is a fair subset.

    Args:
        labels: class of every sample, int64 [N].
        fractions: share of every part; they add up to 1.
        seed: of the draw. The stream is NumPy's ``RandomState``, which is frozen: the same seed gives
            the same parts on every version and machine.

    Returns:
        Indices of every part, int64; together a permutation of 0 .. N - 1.

    Raises:
        InvalidArgument: labels that are no vector of whole numbers, fractions that do not add up to 1, or a
            seed that is no whole number from 0 to 2^32 - 1.

    Example:
        >>> a, b = stratified_split(torch.tensor([0, 1] * 10), (0.8, 0.2), seed=0)
        >>> len(a), len(b)
        (16, 4)
    """
    labels = as_labels("labels", labels)
    if labels.ndim != 1:
        raise InvalidArgument("labels", "one class a sample, shape [N]", _describe(labels))
    if isinstance(fractions, (str, bytes)) or not isinstance(fractions, Iterable):
        raise InvalidArgument("fractions", "the share of every part", repr(fractions)[:80])
    shares = [checks.fraction("fractions", share) for share in fractions]
    if abs(sum(shares) - 1) > 1e-9:
        raise InvalidArgument(
            "fractions", "shares that add up to 1", f"{shares}, which add up to {sum(shares):g}"
        )
    if checks.count("seed", seed, least=0) >= 2**32:
        raise InvalidArgument("seed", "a whole number below 2^32", seed)
    random = np.random.RandomState(seed)
    values = labels.cpu().numpy()
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for label in np.unique(values):
        members = random.permutation(np.flatnonzero(values == label))
        cuts = np.rint(np.array(list(itertools.accumulate(shares))) * len(members)).astype(int)
        for part, chunk in zip(parts, np.split(members, cuts[:-1]), strict=True):
            part.append(chunk)
    empty = np.empty(0, dtype=np.int64)
    return [torch.from_numpy(random.permutation(np.concatenate([empty, *part]))) for part in parts]


def _to_float(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.to(torch.float32) / 255 if pixels.dtype == torch.uint8 else pixels


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"
