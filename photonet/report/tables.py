"""Tables of results, as text and for HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["mean_and_spread", "text_table"]


def mean_and_spread(accuracy: xr.DataArray) -> list[tuple[str, str]]:
    """Rows ``(name, "97.3 ± 0.2")`` in per cent: mean and sample standard deviation over ``seed``.

    Args:
        accuracy: over ``row`` and ``seed``, as a fraction.

    Example:
        >>> import xarray as xr
        >>> mean_and_spread(xr.DataArray([[0.97, 0.98]], dims=["row", "seed"], coords={"row": ["a"]}))
        [('a', '97.50 ± 0.71')]
    """
    rows = []
    for name in accuracy["row"].values:
        values = 100 * accuracy.sel(row=name)
        spread = f" ± {float(values.std(ddof=1)):.2f}" if values.sizes["seed"] > 1 else ""
        rows.append((str(name), f"{float(values.mean()):.2f}{spread}"))
    return rows


def text_table(rows: Sequence[tuple[str, str]], head: tuple[str, str]) -> str:
    """Two aligned columns as plain text.

    Example:
        >>> print(text_table([("teacher", "99.1")], ("network", "accuracy")))
        network  accuracy
        -------  --------
        teacher      99.1
    """
    lines = [head, *rows]
    left, right = (max(len(line[i]) for line in lines) for i in (0, 1))
    ruled = [head, ("-" * left, "-" * right), *rows]
    return "\n".join(f"{a:<{left}}  {b:>{right}}" for a, b in ruled)
