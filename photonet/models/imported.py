"""Teachers that were trained elsewhere: from torch.export and from ONNX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import torch
from torch import nn

from ..errors import DataError, DataMissing, InvalidArgument, MissingDependency

__all__ = ["load_teacher"]


def load_teacher(source: str | Path | torch.export.ExportedProgram) -> nn.Module:
    """A network from elsewhere, as a module that `photonet.distill` can ask.

    An ONNX file is data: it is parsed, converted by onnx2torch and nothing in it is run by Python. The
    archives of ``torch.export.save`` may hold pickles, and photonet unpickles nothing: if you trust the file,
    call ``torch.export.load`` yourself and pass what it returns. Export with a free batch size::

        batch = torch.export.Dim.DYNAMIC
        program = torch.export.export(net.eval(), (images,), dynamic_shapes=({0: batch},))

    Args:
        source: path of an ONNX file, or an exported program.

    Returns:
        The network in evaluation mode, its parameters frozen. An exported program stays as it was
        exported (evaluation or training), whatever ``train()`` and ``eval()`` say.

    Raises:
        DataMissing: no such file.
        DataError: not an ONNX model, or one with operators that onnx2torch does not know.
        InvalidArgument: a file of another kind.
        MissingDependency: onnx2torch, or a package that it needs, is not installed.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> x = torch.rand(3, 1, 2, 2)
        >>> program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        >>> torch.equal(load_teacher(program)(x), net(x))
        True
    """
    if isinstance(source, torch.export.ExportedProgram):
        return _Exported(source.module()).requires_grad_(False)
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidArgument("source", "an ONNX file, or an exported program", type(source).__name__)
    path = Path(source)
    if path.suffix != ".onnx":
        raise InvalidArgument(
            "source",
            "a file ending in .onnx, or an exported program",
            f"{path}",
            "archives of torch.export may hold pickles: pass torch.export.load(...) if you trust this one",
        )
    if not path.exists():
        raise DataMissing(f"{path}: no such file")
    return _from_onnx(path).eval().requires_grad_(False)


class _Exported(nn.Module):
    """An exported graph, which knows one mode and refuses to be asked for another."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of the graph."""
        out: torch.Tensor = self.graph(x)
        return out

    def train(self, mode: bool = True) -> Self:
        """Remember the mode, without telling the graph."""
        self.training = mode
        return self


def _from_onnx(path: Path) -> nn.Module:
    try:
        import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import onnx2torch  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        missing = error.name or "onnx2torch"
        hint = "" if missing.split(".")[0] in ("onnx", "onnx2torch") else f", and onnx2torch needs {missing}"
        raise MissingDependency(
            f"ONNX needs onnx2torch{hint} ({error}); pip install 'photonet[onnx]'"
        ) from error
    try:
        model = onnx.load(path)
        network: nn.Module = onnx2torch.convert(model)
    except Exception as error:  # protobuf and the converter raise what they like
        raise DataError(f"{path}: not a model that onnx2torch can convert ({error})") from error
    return network
