"""A device of our own, ``elsewhere``, whose tensors hold their values on the CPU.

An operation on tensors of both devices is refused, as CUDA refuses it, and so are random numbers of the
other device's generator and a way to NumPy that does not go through the CPU. The device is registered with
torch for as long as the process lives, so these tests have a process of their own. What torch does not offer
to tensors made in Python is out of reach: forward-mode derivatives, fused recurrent cells, safetensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

__all__ = ["ELSEWHERE", "There", "values", "world"]

NAME = "elsewhere"


class Backend(_DummyBackendModule):
    """What `torch.autocast` asks of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend(NAME, backend_module=Backend())
ELSEWHERE = torch.device(NAME, 0)

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default, aten.copy.default, aten._local_scalar_dense.default}
"""What takes tensors of both devices."""
BY_INDEX = {
    aten.index.Tensor, aten._unsafe_index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default,
}  # fmt: skip
"""What takes an index from the CPU; the values of ``index_put`` are its third argument."""
LAZY = {aten._conj.default, aten._neg_view.default}
"""What is a mark on the tensor, which the values would have and `There` would not."""


class There(Tensor):
    """Values on the CPU that say they are elsewhere."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        found = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=ELSEWHERE,
        )  # fmt: skip
        found.held = held
        return found

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"can't convert {NAME} tensor to numpy; copy it to the CPU first")

    def __repr__(self, **_: Any) -> str:
        return f"There({self.held})"

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> There:
        return There(inner["held"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def values(tensor: Tensor) -> Tensor:
    """On the CPU, without a graph."""
    return (tensor.held if isinstance(tensor, There) else tensor).detach()


def _dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation of torch, on the values; what both devices take part in is refused."""
    tensors = [t for t in tree_flatten((args, kwargs))[0] if _dense(t)]
    there = [t for t in tensors if isinstance(t, There)]
    asked = kwargs.get("device")
    away = bool(there) if asked is None else torch.device(asked).type == NAME
    if there and func not in MOVES:
        mixed = tensors if func not in BY_INDEX else [args[0], *args[2:3]]
        here = [tuple(t.shape) for t in mixed if _dense(t) and not isinstance(t, There) and t.ndim > 0]
        if here:
            raise RuntimeError(
                f"{func}: tensors {here} on the CPU, {[tuple(t.shape) for t in there]} elsewhere"
            )
    generator = kwargs.get("generator")
    if generator is not None and (generator._cdata in Generators.away) != away:
        raise RuntimeError(f"{func}: a generator of {'the CPU' if away else NAME}")
    plain = {k: v for k, v in kwargs.items() if k != "pin_memory"} if asked is not None else kwargs
    if asked is not None:
        plain = {**plain, "device": torch.device("cpu")}
    args_of_values, kwargs_of_values = tree_map(
        lambda v: v.held if isinstance(v, There) else v, (args, plain)
    )
    found = func(*args_of_values, **kwargs_of_values)
    if func is aten.copy_.default:
        return args[0]
    if func is aten._local_scalar_dense.default or not away:
        return found
    if func in LAZY:
        return There(found.resolve_conj().resolve_neg())
    wrapped = tree_map(lambda v: There(v) if _dense(v) and not isinstance(v, There) else v, found)
    if not there or (isinstance(found, Tensor) and not _dense(found)):
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """Of Python numbers for this device torch makes a tensor where no mode sees it: here it is moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        made = func in (torch.as_tensor, torch.tensor) and not isinstance(args[0], Tensor)
        if made and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class _Kind(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, REAL)

    def __call__(cls, device: Any = "cpu") -> Any:
        made = REAL()
        if torch.device(device).type == NAME:
            Generators.away[made._cdata] = made
        return made


REAL = torch.Generator


class Generators(metaclass=_Kind):
    """In the place of `torch.Generator`: those made for this device are known by their addresses."""

    away: ClassVar[dict[int, Any]] = {}


@contextlib.contextmanager
def world() -> Iterator[torch.device]:
    """Where the device exists."""
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.Generator = Generators
    try:
        with _Operations(), _Numbers():
            yield ELSEWHERE
    finally:
        torch.Generator = REAL
        torch.__future__.set_swap_module_params_on_conversion(swapped)
