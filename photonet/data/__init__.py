"""Data sets: labelled pictures with a fixed train, validation and test part.

`digits` works at once; `mnist`, `cifar10` and `camvid` are read from a folder of yours, named by the
argument ``folder`` or by the environment variable ``PHOTONET_DATA``. Nothing is ever downloaded.
"""

from __future__ import annotations

from ._folder import FOLDER_VARIABLE
from .augment import augmented, cropped, random_moves
from .images import UNLABELLED, Images, Splits, against_rest, stratified_split
from .sets import available, camvid, cifar10, digits, load, mnist

__all__ = [
    "FOLDER_VARIABLE",
    "UNLABELLED",
    "Images",
    "Splits",
    "against_rest",
    "augmented",
    "available",
    "camvid",
    "cifar10",
    "cropped",
    "digits",
    "load",
    "mnist",
    "random_moves",
    "stratified_split",
]
