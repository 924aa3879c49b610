"""Tables of results, as text and for HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import checks
from ..errors import InvalidArgument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["mean_and_spread", "text_table"]


def mean_and_spread(accuracy: xr.DataArray) -> list[tuple[str, str]]:
    """Rows ``(name, "97.3 ± 0.2")`` in per cent: mean and sample standard deviation over ``seed``.

    Args:
        accuracy: over ``row`` and ``seed``, as a fraction.

    Raises:
        InvalidArgument: something else.

    Example:
        >>> import xarray as xr
        >>> mean_and_spread(xr.DataArray([[0.97, 0.98]], dims=["row", "seed"], coords={"row": ["a"]}))
        [('a', '97.50 ± 0.71')]
    """
    import xarray as xr

    checks.instance("accuracy", accuracy, xr.DataArray, "an xarray.DataArray")
    if set(accuracy.dims) != {"row", "seed"}:
        raise InvalidArgument("accuracy", "the axes row and seed", accuracy.dims)
    rows = []
    for name in accuracy["row"].values:
        values = 100 * accuracy.sel(row=name)
        spread = f" ± {float(values.std(ddof=1)):.2f}" if values.sizes["seed"] > 1 else ""
        rows.append((str(name), f"{float(values.mean()):.2f}{spread}"))
    return rows


def text_table(rows: Sequence[tuple[str, str]], head: tuple[str, str]) -> str:
    """Two aligned columns as plain text.

    Raises:
        InvalidArgument: rows that are not of two texts.

    Example:
        >>> print(text_table([("teacher", "99.1")], ("network", "accuracy")))
        network  accuracy
        -------  --------
        teacher      99.1
    """
    for name, one in (("head", head), *(("rows", row) for row in rows)):
        if not isinstance(one, (list, tuple)) or len(one) != 2 or not all(isinstance(c, str) for c in one):
            raise InvalidArgument(name, "two texts in each row", repr(one)[:80])
    lines = [head, *rows]
    left, right = (max(len(line[i]) for line in lines) for i in (0, 1))
    ruled = [head, ("-" * left, "-" * right), *rows]
    return "\n".join(f"{a:<{left}}  {b:>{right}}" for a, b in ruled)
