"""Whole figures from results; each function returns a matplotlib Figure and shows nothing by itself."""

from .accuracy import confusion, curves, table_bars, yields
from .bench import drift, learning_curve
from .features import embedding
from .optics import kernel_rows, masks

__all__ = [
    "confusion",
    "curves",
    "drift",
    "embedding",
    "kernel_rows",
    "learning_curve",
    "masks",
    "table_bars",
    "yields",
]
