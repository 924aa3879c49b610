"""The border: NumPy arrays, xarray objects, lists and torch tensors come in, tensors go on.

Inside the package there are only tensors; nobody below this line asks what came.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .checks import finite
from .errors import InvalidArgument

__all__ = [
    "UNLABELLED",
    "as_labels",
    "as_pictures",
    "as_tensor",
    "batches",
    "complex_dtype",
    "readable",
    "real_dtype",
]

UNLABELLED = -100
"""The label of a picture (or pixel) whose class is not known: left out of every loss and score."""

MOST_NUMBERS = 2**22
"""In a batch of `batches`: 1,024 small pictures, but few large scenes, whose maps need the memory."""


def as_tensor(name: str, value: Any, *, least_dims: int = 0, whole: bool = False) -> torch.Tensor:
    """A finite tensor, floating or complex unless asked otherwise, from whatever holds numbers.

    Tensors keep precision, device and autograd graph; NumPy and xarray keep their precision (integers
    and booleans become float32). Axes named ``wavelength``, ``y`` and ``x`` of an xarray object are
    brought into that order, at the end.

    Args:
        name: the argument's name, for the error.
        value: tensor, array, xarray.DataArray or nested list.
        least_dims: how many axes it must have at least.
        whole: leave whole numbers whole, as int64; booleans and single bytes become float32 all the same.

    Returns:
        A tensor of the same shape.

    Raises:
        InvalidArgument: not numbers, not finite, masked, or too few axes.

    Example:
        >>> as_tensor("image", [[0, 1], [2, 3]]).dtype
        torch.float32
    """
    if hasattr(value, "dims") and hasattr(value, "transpose") and hasattr(value, "values"):
        known = [d for d in ("wavelength", "y", "x") if d in value.dims]
        spatial = len({"y", "x"} & set(known))
        # an axis of another name would come before those that are known, and these be taken for its plane
        if (spatial == 1 and len(value.dims) > 1) or (not spatial and known and len(value.dims) > 2):
            raise InvalidArgument(
                name, "axes named y and x, or no names of these", f"the axes {value.dims}", "see rename"
            )
        value = value.transpose(..., *known).values
    if not isinstance(value, torch.Tensor):
        array = readable(name, value)
        if array.dtype.kind in "biu":
            array = array.astype(np.int64 if whole and array.dtype.itemsize > 1 else np.float32)
        value = torch.from_numpy(array)
    elif not (value.is_floating_point() or value.is_complex()):
        value = value.to(torch.int64 if whole and value.dtype.itemsize > 1 else torch.float32)
    value = value.resolve_conj().resolve_neg()  # numpy knows no lazy conjugates
    if value.ndim < least_dims:
        raise InvalidArgument(name, f"at least {least_dims} axes (..., y, x)", f"shape {tuple(value.shape)}")
    return finite(name, value)


def readable(name: str, value: Any) -> np.ndarray[Any, Any]:
    """Numbers from whatever holds them, of their own kind and precision, in an array that torch can read.

    Raises:
        InvalidArgument: not numbers, rows that differ in length, or masked values.

    Example:
        >>> readable("image", np.arange(3, dtype=">i2")[None, ::-1][::-1]).strides
        (6, 2)
    """
    if np.ma.is_masked(value):
        hint = "fill them, see numpy.ma.filled"
        raise InvalidArgument(name, "no masked values", f"{np.ma.count_masked(value)} of them", hint)
    try:
        array = np.asarray(value)
    except ValueError as error:  # of lists whose rows differ in length
        raise InvalidArgument(name, "numbers in equal rows", str(error).split("(")[0]) from None
    if array.dtype.kind not in "biufc":
        raise InvalidArgument(name, "numbers", f"an array of {array.dtype}")
    # torch reads neither foreign byte order nor negative strides, and read-only memory with a warning
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    reversed_ = min(array.strides, default=0) < 0  # an axis of one is contiguous all the same
    return array.copy() if reversed_ or not array.flags.writeable else array


def as_pictures(name: str, value: Any, *, white: float = 255) -> torch.Tensor:
    """Pictures or maps [n, c, y, x] of floating-point numbers; of bytes ``white`` becomes 1.

    Raises:
        InvalidArgument: not numbers, not real, not finite, or other axes.

    Example:
        >>> as_pictures("scenes", torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item()
        1.0
    """
    found = as_tensor(name, value)
    if found.ndim != 4 or found.is_complex():
        got = f"shape {tuple(found.shape)}" + (" of complex numbers" if found.is_complex() else "")
        raise InvalidArgument(name, "real numbers with the axes [n, c, y, x]", got)
    return found / white if str(getattr(value, "dtype", "")).endswith("uint8") else found


def as_labels(name: str, value: Any) -> torch.Tensor:
    """Classes as int64, [n] or of every pixel.

    Raises:
        InvalidArgument: not whole numbers, or a single one.

    Example:
        >>> as_labels("labels", [3, 1]).dtype
        torch.int64
    """
    found = as_tensor(name, value, whole=True)
    whole = found.to(torch.int64) if not found.is_complex() else None
    if whole is None or not found.ndim or not torch.equal(whole.to(found), found):
        got = f"shape {tuple(found.shape)} of {found.dtype}"
        raise InvalidArgument(name, "whole numbers of classes, [n] or [n, y, x]", got)
    return whole


def complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """complex64 for single (and half) precision, complex128 for double.

    Example:
        >>> complex_dtype(torch.float64)
        torch.complex128
    """
    return torch.complex128 if dtype in (torch.float64, torch.complex128) else torch.complex64


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for single precision, float64 for double.

    Example:
        >>> real_dtype(torch.complex64)
        torch.float32
    """
    return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32


def batches(inputs: torch.Tensor, size: int | None = None) -> tuple[torch.Tensor, ...]:
    """Some samples at a time, for what a model says without gradients.

    Args:
        inputs: [n, ...].
        size: by default 1,024 samples, and fewer where those are large.

    Example:
        >>> [len(batch) for batch in batches(torch.zeros(5, 3), size=2)]
        [2, 2, 1]
        >>> len(batches(torch.zeros(8, 1, 1).expand(8, 2**11, 2**11))[0])
        1
    """
    if size is None:
        size = max(1, min(1024, MOST_NUMBERS // max(1, inputs[:1].numel())))
    return inputs.split(size)
