"""``photonet info``: what is installed and found, to be pasted into a report of a problem."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import typer

from .materials import kinds

__all__ = ["info"]

REQUIRED = ("torch", "numpy", "scipy", "xarray", "h5py", "lightning", "matplotlib")
OPTIONAL = {
    "validation": "LightPipes",
    "benchmarks": "torchoptics",
    "cluster": "dask",
    "onnx": "onnx2torch",
    "docs": "sphinx",
}
"""For each extra, the package whose presence stands for it."""


def info() -> None:
    """Show versions, threads, devices, and where materials and data sets were found."""
    rows = {
        "photonet": _photonet(),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in REQUIRED},
        "threads": _threads(),
        "devices": _devices(),
        "extras": ", ".join(f"{extra} ({_version(name)})" for extra, name in OPTIONAL.items()),
        "materials": _materials(),
        "data": _data(),
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"{name:{width}}  {value}")


def _photonet() -> str:
    from .. import __version__

    return f"{__version__} in {Path(__file__).parents[1]}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _threads() -> str:
    import torch

    return f"{torch.get_num_threads()} of torch, {os.cpu_count()} processors"


def _devices() -> str:
    import torch

    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return ", ".join(["cpu", *cuda])


def _materials() -> str:
    from .. import materials

    found = kinds()
    root = next(iter(found.values())).parent
    return ", ".join(f"{len(materials.names(kind))} {kind}" for kind in found) + f" in {root}"


def _data() -> str:
    from .. import data

    found = ", ".join(data.available())
    place = os.environ.get(data.FOLDER_VARIABLE)
    if not place:
        return f"{found} ({data.FOLDER_VARIABLE} is not set)"
    state = "" if Path(place).expanduser().is_dir() else ", which is not a folder"
    return f"{found} ({data.FOLDER_VARIABLE} names {place}{state})"
