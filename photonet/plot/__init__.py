"""Whole figures from results; each function returns a matplotlib Figure and shows nothing by itself."""

from .accuracy import confusion, curves, table_bars, yields
from .features import embedding
from .optics import kernel_rows, masks

__all__ = ["confusion", "curves", "embedding", "kernel_rows", "masks", "table_bars", "yields"]
