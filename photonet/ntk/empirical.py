"""Empirical neural tangent kernels of any torch module: exact where that is cheap, estimated on request."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from .. import checks
from ..errors import InvalidArgument
from .directions import output_directions, source
from .estimates import forward_tangents, sketched
from .factors import trace_product
from .jacobian import Tangents, tangents
from .parameters import Selection, answers, batch, independent_samples, select
from .sketch import Sketch

__all__ = ["adam_rates", "forward_gram", "gram"]


def gram(
    model: nn.Module,
    x: Tensor,
    x2: Tensor | None = None,
    *,
    outputs: str | Tensor = "trace",
    method: str = "auto",
    params: Selection = None,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
    directions: int = 1,
    size: int = 256,
    rates: Mapping[str, float] | None = None,
) -> Tensor:
    """Empirical neural tangent kernel: inner products of per-sample parameter gradients.

    K[a, b] = sum_m <d(v_m . f(x_a))/dtheta, d(v_m . f(x2_b))/dtheta>, with the output directions v_m below.
    Differentiable in the parameters when gradients are enabled; under `torch.no_grad` nothing is kept.

    Args:
        model: any module whose samples are independent, with the sample axis first in every layer. Batch
            normalisation must be in eval mode (see `frozen_statistics`).
        x: [n, ...].
        x2: [n2, ...]; None for x itself.
        outputs: ``"trace"`` sums over all outputs (v = unit vectors); ``"sum"`` is the kernel of the sum of
            the outputs; ``"random"`` draws ``directions`` rows of signs, an unbiased estimate of the trace;
            a tensor [m, C] gives the v_m; ``"full"`` keeps all pairs of outputs. Dense outputs count every
            pixel as an output, so use directions there.
        method: ``"structured"`` exact, layer by layer (Novak et al., arXiv 2206.08720); ``"jacobian"``
            exact, by `torch.func` over the whole model; ``"auto"`` structured, and torch.func only for
            parameters that no layer rule covers, which is logged once per model (logger photonet.ntk);
            ``"jvp"`` estimates it from forward derivatives along ``size`` random tangents (relative error
            about sqrt(2 / size)); ``"sketch"`` from a `Sketch` of that size.
        params: which parameters, see `select`.
        chunk: most samples at a time on either side; bounds memory, the result is the same.
        generator: source of random directions, tangents and sketches, on the CPU.
        directions: how many random directions.
        size: how many random tangents, or numbers per sketch.
        rates: parameter name -> relative learning rate, which multiplies its part of the kernel (1 where none
            is given): the kernel of training at unequal rates, see `adam_rates`. Exact methods only.

    Returns:
        [n, n2], or [n, n2, C, C] for ``"full"``.

    Raises:
        InvalidArgument: frozen or unknown parameters, batch normalisation in training, dropout in training
            with ``x2`` or chunks, samples that do not stay on the first axis or that the model does not
            take, outputs that are not one tensor, a missing generator, or a shape that does not fit.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> k = gram(model, torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
        >>> k.shape, bool((torch.linalg.eigvalsh(k.detach()) > -1e-6).all())
        (torch.Size([5, 5]), True)
    """
    checks.choice("method", method, ("auto", "structured", "jacobian", "jvp", "sketch"))
    batch("x", x)
    independent_samples(model)  # before anything is asked of it, which moves running statistics
    if isinstance(outputs, Tensor):
        checks.finite("outputs", outputs)
    if x2 is not None or (chunk is not None and checks.count("chunk", chunk) < len(x)):
        _one_network(model)
    params = list(select(model, params).values())  # an iterator of parameters serves one chunk
    full = isinstance(outputs, str) and outputs == "full"
    if isinstance(outputs, str) and outputs == "random":
        with torch.no_grad():
            like = answers(model, x[:1])
        outputs = output_directions("random", like, generator, directions)  # the same for all chunks
    if rates is not None:
        _known_rates(model, rates, method)
    if method in ("jvp", "sketch"):
        draws = source(generator, f"method={method!r}")
        seed = int(torch.randint(2**62, (), generator=draws))
        if method == "jvp":
            ask = functools.partial(
                forward_tangents, model, select(model, params), outputs=outputs, size=size, seed=seed
            )
        else:
            ask = functools.partial(sketched, model, Sketch(size, seed=seed), outputs=outputs, params=params)
    else:
        ask = functools.partial(tangents, model, outputs=outputs, params=params, method=method)
    return _blocks(ask, x, None if x2 is None else batch("x2", x2), chunk, full, rates)


def _one_network(model: nn.Module) -> None:
    """Refuse dropout where several passes would be of several networks."""
    for name, module in model.named_modules():
        if isinstance(module, _DropoutNd) and module.training and module.p > 0:
            got = f"{name or type(module).__name__} in training mode, which drops others in each pass"
            raise InvalidArgument("model", "the same network for all samples", got, "use model.eval()")


def _known_rates(model: nn.Module, rates: Mapping[str, float], method: str) -> None:
    if method in ("jvp", "sketch"):
        raise InvalidArgument("rates", f"none for method={method!r}, which mixes the parameters", "rates")
    for name, rate in rates.items():
        checks.lookup("rates", name, dict(model.named_parameters()))
        checks.non_negative(f"rates[{name!r}]", rate)


def adam_rates(model: nn.Module, x: Tensor, *, params: Selection = None) -> dict[str, float]:
    """Relative learning rates that Adam begins with: one over the root mean square gradient.

    Adam divides each gradient by its root mean square, so its tangent kernel is J D^-1 J^T with D the root
    mean squares (Kingma and Ba, ICLR 2015, arXiv 1412.6980). Here D is one number per parameter tensor, from
    the per-sample gradients along random signs of the outputs, and the rates have mean 1 over the elements.

    Args:
        model: as in `gram`.
        x: a few hundred samples.
        params: which parameters, see `select`.

    Returns:
        name -> rate; 0 for parameters that no output depends on.

    Raises:
        InvalidArgument: as `gram`, or gradients that are not finite.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 2))
        >>> sorted(adam_rates(model, torch.ones(5, 9)))
        ['0.bias', '0.weight', '1.bias', '1.weight']
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found = tangents(model, x, outputs="random", generator=generator, directions=2, params=params)
    sizes = {name: p.numel() for name, p in select(model, params).items()}
    rates = {}
    for name, factor in found.factors.items():
        square = float(trace_product(factor, factor).diagonal().mean()) / sizes[name]
        if not math.isfinite(square):
            raise InvalidArgument("x", "samples with finite gradients", f"{square} for {name}")
        rates[name] = square**-0.5 if square > 0 else 0.0
    mean = sum(rates[name] * sizes[name] for name in rates) / sum(sizes[name] for name in rates)
    return {name: rate / mean if mean else 0.0 for name, rate in rates.items()}


def _blocks(
    ask: Callable[[Tensor], Tangents],
    x: Tensor,
    x2: Tensor | None,
    chunk: int | None,
    full: bool,
    rates: Mapping[str, float] | None,
) -> Tensor:
    """The kernel block by block; factors of at most two chunks exist at a time."""
    other = x if x2 is None else x2
    size = max(len(x), len(other)) if chunk is None else checks.count("chunk", chunk)
    done: list[list[Tensor]] = []
    for j, right_x in enumerate(other.split(size)):
        right = ask(right_x) if x2 is None else _of_x2(ask, right_x)
        column = []
        for i, left_x in enumerate(x.split(size)):
            if x2 is None and i > j:
                break
            column.append(
                (right if x2 is None and i == j else ask(left_x)).gram(right, full=full, rates=rates)
            )
        done.append(column)
    if x2 is None:
        flip = (lambda k: k.permute(1, 0, 3, 2)) if full else (lambda k: k.mT)
        for j, column in enumerate(done):
            column.extend(flip(done[i][j]) for i in range(j + 1, len(done)))
    columns = [torch.cat(column) for column in done]
    return torch.cat(columns, dim=1)


def _of_x2(ask: Callable[[Tensor], Tangents], x2: Tensor) -> Tangents:
    """What is wrong with ``x`` of `tangents` is wrong with ``x2`` of the caller."""
    try:
        return ask(x2)
    except InvalidArgument as error:
        if error.argument != "x":
            raise
        raise InvalidArgument("x2", error.expected, error.got, error.hint) from error


def forward_gram(
    model: nn.Module,
    x: Tensor,
    *,
    outputs: str | Tensor = "random",
    params: Selection = None,
    generator: torch.Generator | None = None,
    directions: int = 1,
) -> tuple[Tensor, Tensor]:
    """Outputs and kernel from one forward pass: what a training step needs.

    Args: as `gram`.

    Returns:
        the model's outputs [n, ...] and the kernel [n, n], both differentiable in the parameters.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> logits, k = forward_gram(model, torch.ones(4, 3), generator=torch.Generator().manual_seed(0))
        >>> logits.shape, k.shape
        (torch.Size([4, 2]), torch.Size([4, 4]))
    """
    if isinstance(outputs, str) and outputs == "full":
        raise InvalidArgument("outputs", "'trace', 'sum', 'random' or directions", "'full'", "use gram(...)")
    found = tangents(model, x, outputs=outputs, params=params, generator=generator, directions=directions)
    return found.outputs, found.gram()
