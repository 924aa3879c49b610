"""What is asked of a teacher: its tangent kernel, computed once and read batch by batch; its features."""

from __future__ import annotations

import copy
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import checks, ntk
from ..arrays import batches
from ..errors import DataError, DataMissing, InvalidArgument
from ..ntk.parameters import in_python
from ..ntk.teacher import clear_parts
from ..precision import full_precision, single
from ..progress import bar
from .terms import Term, needs

__all__ = ["MOST_OUTPUTS", "Gram", "gram_of", "penultimate", "tangent_gram", "teacher_targets"]

Gram = Callable[..., torch.Tensor]
"""Function of sample indices [b] and directions [m, outputs] (None: all outputs) to the Gram [b, b]; with
``full=True`` to that of all pairs of directions, [b m, b m]."""

SKETCH = ntk.Sketch(512)
"""The relative error of a Gram is about sqrt(2 / 512) = 6 %, less than one random direction adds."""

LAST = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""Layers whose input are a model's features."""

LOOK_BACK = 4
"""Of these layers, from the last one: more inputs are not kept."""

MOST_OUTPUTS = 64
"""Beyond (segmentation), rows for every output would not fit; a batch's Gram is then computed when asked."""


def tangent_gram(teacher: nn.Module, inputs: torch.Tensor, folder: str | Path | None = None) -> Gram:
    """The teacher's tangent kernel as a function of sample indices and output directions.

    Every sample's tangents are sketched once (`photonet.ntk.TeacherFeatures`) and read from a
    memory-mapped file while training.

    Args:
        teacher: any module; taken in evaluation mode.
        inputs: [n, ...], the training inputs.
        folder: where ``teacher.h5`` is kept, and found again for the same teacher and inputs, also half-way;
            without it a temporary file is used, which goes with the function returned.

    Returns:
        A function (indices [b], directions [m, outputs] or None) to the Gram [b, b], without gradient.

    Raises:
        InvalidArgument: a teacher that was traced.
        DataError: ``teacher.h5`` in the folder is damaged, or of another teacher or other inputs.

    Example:
        >>> gram = tangent_gram(nn.Linear(3, 2), torch.rand(10, 3))
        >>> gram(torch.tensor([4, 2, 7])).shape
        torch.Size([3, 3])
    """
    in_python("teacher", teacher)
    # a copy, so that neither freezing nor the mode of the caller's teacher is touched
    model = copy.deepcopy(teacher).eval().requires_grad_(True)
    with torch.no_grad():
        like = model(inputs[:1])
    if like.numel() > MOST_OUTPUTS:

        def direct(
            batch: torch.Tensor, directions: torch.Tensor | None = None, full: bool = False
        ) -> torch.Tensor:
            with torch.no_grad():
                found = ntk.tangents(
                    model, inputs[batch], outputs="trace" if directions is None else directions
                )
                return gram_of(found, full)

        return direct
    if folder is None:
        temporary = tempfile.TemporaryDirectory(prefix="photonet-")
        stored = _sketched(Path(temporary.name) / "teacher.h5", model, inputs)
    else:
        path = Path(folder) / "teacher.h5"
        try:
            stored = ntk.TeacherFeatures.open(path, teacher=model, x=inputs, sketch=SKETCH)
            clear_parts(path)  # which a kill may have left
        except DataMissing:
            stored = _sketched(path, model, inputs)
        except DataError as error:
            raise DataError(f"{error}; or choose another out= folder, or pass resume=False") from None

    def gram(batch: torch.Tensor, directions: torch.Tensor | None = None, full: bool = False) -> torch.Tensor:
        rows = stored.features(batch, directions).flatten(0 if full else 1, 1 if full else -1)
        with full_precision(rows):
            return (rows @ rows.mT).to(single(like))

    if folder is None:
        weakref.finalize(gram, temporary.cleanup)
    return gram


def _sketched(path: Path, model: nn.Module, inputs: torch.Tensor) -> ntk.TeacherFeatures:
    with bar("sketching the teacher's tangents", total=len(inputs)) as advance:
        shown = 0

        def progress(done: int, of: int) -> None:
            nonlocal shown
            advance(done - shown)
            shown = done

        return ntk.TeacherFeatures.compute(path, model, inputs, sketch=SKETCH, progress=progress)


def gram_of(found: ntk.Tangents, full: bool = False) -> torch.Tensor:
    """The Gram of recorded tangents: [n, n], or [n m, n m] of all pairs of directions.

    Example:
        >>> gram_of(ntk.tangents(nn.Linear(3, 2), torch.rand(4, 3)), full=True).shape
        torch.Size([8, 8])
    """
    if not full:
        return found.gram()
    blocks = found.gram(full=True)
    n, _, m, _ = blocks.shape
    return blocks.transpose(1, 2).reshape(n * m, n * m)


def penultimate(
    model: nn.Module,
    inputs: torch.Tensor,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
    *,
    name: str = "model",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of a model and what its last dense layer sees, or the last convolution of one that gives maps.

    Args:
        model: with such a layer.
        inputs: [n, ...].
        forward: what runs the model, where that is not the model itself.
        name: of the model, for the error.

    Returns:
        [n, ...] each; features of maps as [n, c, y, x].

    Raises:
        InvalidArgument: the model has no such layer in Python, as one that was traced or exported.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> [tuple(t.shape) for t in penultimate(model, torch.rand(4, 3))]
        [(4, 2), (4, 8)]
        >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
        >>> [tuple(t.shape) for t in penultimate(model, torch.rand(4, 1, 9, 9))]
        [(4, 2, 7, 7), (4, 8, 7, 7)]
    """
    dense: deque[torch.Tensor] = deque(maxlen=1)
    maps: deque[torch.Tensor] = deque(maxlen=LOOK_BACK)  # [n, c, y, x], the last first

    def keep(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        features = (*args, *named.values())[0]
        if isinstance(layer, nn.Linear):
            dense.append(features)
        if features.ndim == 4:
            maps.appendleft(features.movedim(-1, 1) if isinstance(layer, nn.Linear) else features)

    layers = [module for module in model.modules() if isinstance(module, LAST)]
    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
    try:
        outputs = (forward or model)(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if outputs.ndim != 4:
        found, expected = [*dense], "a dense layer, whose input are the features"
    else:
        # not the scores of several scales, which a last layer only makes larger
        found = [features for features in maps if features.shape[1] != outputs.shape[1]] or [*maps]
        expected = "a convolution or a dense layer, whose input are the features"
    if not found:
        hint = "pass a network with layers in Python, or compare no features, as method='kd' does"
        raise InvalidArgument(name, expected, f"none in {type(model).__name__}", hint)
    return outputs, found[0]


def teacher_targets(
    teacher: nn.Module | None,
    inputs: torch.Tensor,
    terms: Iterable[Term],
    folder: str | Path | None = None,
    *,
    kernel_only: bool = False,
) -> dict[str, Any]:
    """What these terms need of a teacher, asked once: the keyword arguments of `Samples`.

    Args:
        teacher: any module; None asks nothing.
        inputs: [n, ...], what the teacher sees.
        terms: of the loss.
        folder: as for `tangent_gram`.
        kernel_only: leave out the outputs and features, which are asked at every step instead.

    Raises:
        InvalidArgument: outputs or features that are not finite; only labels may be unknown.

    Example:
        >>> from photonet.distill.terms import KD
        >>> teacher_targets(nn.Linear(3, 2), torch.rand(5, 3), [KD()])["teacher"].shape
        torch.Size([5, 2])
    """
    wanted = needs(terms) if teacher is not None else set()
    found: dict[str, Any] = {}
    if teacher is not None and wanted & {"teacher", "features"} and not kernel_only:
        model = copy.deepcopy(teacher).eval()
        with torch.no_grad():
            if "features" in wanted:
                parts = [penultimate(model, x, name="teacher") for x in batches(inputs)]
                found["features"] = torch.cat([features for _, features in parts])
            else:
                parts = [(model(x), x) for x in batches(inputs)]
            if "teacher" in wanted:
                found["teacher"] = torch.cat([logits for logits, _ in parts])
        for name, values in found.items():
            checks.finite({"teacher": "teacher outputs", "features": "teacher features"}[name], values)
    if teacher is not None and wanted & {"gram", "kernel"}:
        found["gram"] = tangent_gram(teacher, inputs, folder)
    return found
