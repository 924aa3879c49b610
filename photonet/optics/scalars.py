"""Physical parameters: numbers or scalar tensors come in, float64 tensors with their graph go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = ["plain", "scalar"]


def plain(value: Any) -> Any:
    """``value`` without its autograd graph, for decisions that are made in plain numbers."""
    return value.detach() if isinstance(value, torch.Tensor) else value


def scalar(
    name: str,
    value: Any,
    what: str,
    *,
    check: Callable[[str, Any, str], float] = checks.real,
    zero: bool = True,
    device: torch.device | None = None,
) -> torch.Tensor:
    """A float64 scalar tensor that keeps the autograd graph of ``value``.

    Args:
        name: the argument's name, for the error.
        value: a number or a tensor of one element.
        what: what is expected, in words.
        check: one of the number checks of `photonet.checks`.
        zero: whether zero is allowed.
        device: where the result lies.

    Raises:
        InvalidArgument: what ``check`` refuses, or a zero that is not allowed.
    """
    number = check(name, plain(value), what)
    if number == 0 and not zero:
        raise InvalidArgument(name, what, number)
    return torch.as_tensor(value, dtype=torch.float64, device=device).reshape(())
