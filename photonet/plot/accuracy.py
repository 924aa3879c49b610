"""Figures of how well networks do: tables, training curves, confusion matrices, yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["confusion", "curves", "table_bars", "yields"]


def table_bars(accuracy: xr.DataArray) -> Figure:
    """Mean and standard deviation over seeds of every row.

    Args:
        accuracy: over ``row`` and ``seed``, as a fraction.
    """
    from matplotlib.figure import Figure

    mean = 100 * accuracy.mean("seed").values
    spread = 100 * (accuracy.std("seed", ddof=1).values if accuracy.sizes["seed"] > 1 else 0 * mean)
    figure = Figure(figsize=(7.5, 0.32 * len(mean) + 0.8), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(mean))
    axes.errorbar(mean, place, xerr=spread, fmt="o", color="tab:blue", capsize=3)
    axes.set_yticks(place, accuracy["row"].values)
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy (%), mean and standard deviation over seeds")
    axes.grid(axis="x", alpha=0.3)
    return figure


def curves(results: xr.Dataset) -> Figure:
    """Validation accuracy and NTK distance of each method over the epochs, one thin line per seed.

    Args:
        results: with ``val_accuracy`` and ``ntk`` over ``student``, ``seed`` and ``epoch``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, method in enumerate(results["student"].values):
        one = results.sel(student=method)
        colour = f"C{index}"
        left.plot(one["epoch"], 100 * one["val_accuracy"].mean("seed"), color=colour, label=method)
        left.plot(one["epoch"], 100 * one["val_accuracy"].T, color=colour, alpha=0.3, lw=0.7)
        if bool((one["ntk"] > 0).any()):
            right.semilogy(one["epoch"], one["ntk"].mean("seed"), color=colour, label=method)
    left.set(xlabel="epoch", ylabel="validation accuracy (%)")
    right.set(xlabel="epoch", ylabel="NTK distance to the teacher")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def confusion(answers: Mapping[str, torch.Tensor], labels: torch.Tensor, classes: Sequence[str]) -> Figure:
    """Confusion matrices side by side, in per cent of each true class.

    Args:
        answers: title -> predicted classes [n].
        labels: true classes [n].
        classes: their names.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(answers), 3.8), layout="constrained")
    panels = figure.subplots(1, len(answers), squeeze=False)[0]
    for axes, (title, answer) in zip(panels, answers.items(), strict=True):
        matrix = np.zeros((len(classes), len(classes)))
        np.add.at(matrix, (labels.cpu().numpy(), answer.cpu().numpy()), 1)
        matrix *= 100 / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        picture = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=100)
        axes.set(title=title, xlabel="answer", ylabel="truth")
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(classes)), classes)
    figure.colorbar(picture, ax=panels, label="% of the class")
    return figure


def yields(devices: xr.Dataset) -> Figure:
    """How many devices reach an accuracy, before and after correction.

    Args:
        devices: with ``uncorrected`` and ``corrected`` over ``device``; the attribute ``simulated``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    count = devices.sizes["device"]
    share = 100 * (1 - np.arange(count + 1) / count)
    lowest = min(float(devices[name].min()) for name in ("uncorrected", "corrected"))
    for name in ("uncorrected", "corrected"):
        reached = np.sort(devices[name].values)
        # a device counts up to its own accuracy: the step is after it, and the last one leads to none
        at = 100 * np.concatenate([[lowest], reached, reached[-1:]])
        axes.step(at, np.concatenate([[100.0], share]), where="pre", label=name)
    axes.axvline(100 * devices.attrs["simulated"], color="0.4", ls="--", lw=1, label="simulated")
    axes.set(xlabel="accuracy (%)", ylabel="devices at least as good (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
