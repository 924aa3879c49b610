"""Estimates of the Jacobian by few random numbers per sample, in the same form as the exact ones."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .. import checks
from .directions import output_directions
from .jacobian import Tangents, tangents
from .parameters import Selection, answers, independent_samples
from .sketch import Sketch

__all__ = ["forward_tangents", "sketched"]


def sketched(
    model: nn.Module, sketch: Sketch, x: Tensor, *, outputs: str | Tensor = "trace", params: Selection = None
) -> Tangents:
    """The Jacobian of a batch as one sketch.

    Example:
        >>> sketched(nn.Linear(3, 2), Sketch(64), torch.ones(4, 3)).factors["sketch"].shape
        torch.Size([4, 2, 64])
    """
    found = tangents(model, x, outputs=outputs, params=params)
    return Tangents(found.outputs, {"sketch": sketch(found)}, {"sketch": sketch.kind}, found.directions)


def forward_tangents(
    model: nn.Module,
    chosen: Mapping[str, Tensor],
    x: Tensor,
    *,
    outputs: str | Tensor = "trace",
    size: int = 256,
    seed: int = 0,
) -> Tangents:
    """Derivatives of the outputs along random normal tangents of the parameters.

    The NTK-SAP estimator (Wang et al., ICLR 2023, arXiv 2304.02840) with exact forward derivatives in
    place of differences: E[(J g)(J' g)] = J . J', with a relative error of about sqrt(2 / size).

    Args:
        model: any module that supports forward-mode differentiation.
        chosen: its parameters, see `select`.
        x: [n, ...].
        outputs: as in `gram`, except that all directions come from one pass.
        size: how many tangents.
        seed: of the tangents, the same for all batches, and of dropout.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> found = forward_tangents(model, dict(model.named_parameters()), torch.ones(4, 3), size=8)
        >>> found.factors["tangents"].shape
        torch.Size([4, 2, 8])
    """
    independent_samples(model)
    generator = torch.Generator().manual_seed(seed)
    values = dict(chosen)

    def forward(parameters: dict[str, Tensor]) -> Tensor:
        return answers(functools.partial(torch.func.functional_call, model, parameters), x)

    columns = []
    result = x
    for _ in range(checks.count("size", size)):
        along = {name: torch.randn(p.shape, generator=generator).to(p) for name, p in values.items()}
        # all tangents are of one network: with the same units dropped
        with torch.random.fork_rng([x.device] if x.is_cuda else []), warnings.catch_warnings():
            torch.manual_seed(seed)
            # torch's own rules for forward derivatives are compiled on first use by a deprecated function
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
            pushed = torch.func.jvp(forward, (values,), (along,))
        result = pushed[0]
        columns.append(pushed[1].flatten(1))
    v = output_directions(outputs, result)
    features = v @ (torch.stack(columns, dim=2) / size**0.5)
    return Tangents(result, {"tangents": features}, {"tangents": "jvp"}, len(v))
