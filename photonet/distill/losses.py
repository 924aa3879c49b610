"""Loss terms of a student and a teacher; nothing here knows of optics.

Every term is a function of plain tensors and a mean over the batch (`kd` that of `divergence`), so that the
terms of a method are comparable and can be weighed against each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .. import checks, ntk
from ..arrays import UNLABELLED
from ..errors import GridMismatch, InvalidArgument
from ..ntk.similarity import over

__all__ = [
    "NTK_FORMS",
    "cross_entropy",
    "divergence",
    "feature_matching",
    "kd",
    "kernel_residual",
    "ntk_matching",
    "output_matching",
    "squared_error",
]

NTK_FORMS = ("scaled", "cka", "raw")


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy to the labels, mean over the samples (and pixels) that have one; 0 if none has.

    Args:
        logits: [n, classes, ...].
        labels: int64 [n, ...]; `UNLABELLED` where the class is not known.
        smoothing: part of the probability that is spread over all classes.

    Example:
        >>> float(cross_entropy(torch.zeros(4, 10), torch.arange(4)))  # log 10
        2.3025851249694824
    """
    total = F.cross_entropy(
        logits, labels, ignore_index=UNLABELLED, label_smoothing=smoothing, reduction="sum"
    )
    return total / (labels != UNLABELLED).sum().clamp_min(1)


def squared_error(outputs: torch.Tensor, targets: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """Squared difference over a variance, mean over the numbers that are known; 0 if none is.

    Args:
        outputs: of the student, [n, ...].
        targets: of the same shape; NaN where the number is not known.
        scale: variance of the targets, so that the loss of always answering their mean is 1.

    Raises:
        GridMismatch: targets of another shape.

    Example:
        >>> outputs, targets = torch.tensor([1.0, 5.0]), torch.tensor([3.0, torch.nan])
        >>> float(squared_error(outputs, targets, scale=2.0))
        2.0
    """
    return _mean_square(outputs, targets, ~targets.isnan(), scale)


def output_matching(outputs: torch.Tensor, teacher: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """`squared_error` to a teacher, of whose outputs none is left out: the loss is NaN if one of them is.

    Example:
        >>> outputs, teacher = torch.tensor([1.0, 5.0]), torch.tensor([3.0, torch.nan])
        >>> float(output_matching(outputs, teacher))
        nan
    """
    return _mean_square(outputs, teacher, torch.ones_like(teacher, dtype=torch.bool), scale)


def _mean_square(
    outputs: torch.Tensor, targets: torch.Tensor, known: torch.Tensor, scale: float
) -> torch.Tensor:
    if outputs.shape != targets.shape:
        raise GridMismatch("targets", f"{tuple(outputs.shape)}, as the outputs", f"{tuple(targets.shape)}")
    # chosen before the square: the gradient of what is not known would be NaN
    difference = torch.where(known, outputs - targets, 0.0)
    return difference.square().sum() / (scale * known.sum().clamp_min(1))


def divergence(logits: torch.Tensor, wanted: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    r"""Divergence of softened outputs, :math:`T^2\, KL(p_t \| p_s)`, of every decision.

    The factor keeps the gradient's size when the temperature changes (Hinton, Vinyals, Dean,
    arXiv 1503.02531).

    Args:
        logits: [n, classes, ...].
        wanted: logits of the same shape.
        temperature: T > 0.

    Returns:
        [n, ...], without the axis of the classes.

    Raises:
        GridMismatch: different outputs.

    Example:
        >>> divergence(torch.zeros(4, 10, 2), torch.zeros(4, 10, 2)).shape
        torch.Size([4, 2])
    """
    if logits.shape != wanted.shape:
        raise GridMismatch(
            "teacher", f"outputs {tuple(logits.shape)}, as the student's", f"{tuple(wanted.shape)}"
        )
    ours, theirs = (F.log_softmax(scores / temperature, dim=1) for scores in (logits, wanted))
    return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)


def kd(logits: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    """Knowledge distillation: the mean `divergence` from the teacher's softened outputs.

    Args:
        logits: student's, [n, classes, ...].
        teacher: teacher's logits of the same shape.
        temperature: T > 0.

    Raises:
        GridMismatch: student and teacher have different outputs.

    Example:
        >>> x = torch.randn(4, 10)
        >>> float(kd(x, x)) < 1e-6
        True
    """
    return divergence(logits, teacher, temperature).mean()


def ntk_matching(student: torch.Tensor, teacher: torch.Tensor, form: str = "scaled") -> torch.Tensor:
    """Distance of two neural tangent Grams of the same batch.

    ``raw`` is Eq. 8 of arXiv 2508.08421: the mean squared difference of the entries. A teacher's Gram
    is larger than a small student's by orders of magnitude (2.5e4 for LeNet), which drowns everything
    else; ``scaled`` divides each Gram by its mean diagonal first; ``cka`` is one minus the centred
    kernel alignment (Cortes et al., JMLR 13, 795, 2012), blind to scale and to a common offset.

    Args:
        student: [n, n], differentiable.
        teacher: [n, n].
        form: one of ``scaled``, ``cka``, ``raw``.

    Raises:
        InvalidArgument: a batch of one for the centred form, or Grams that are not square and alike.

    Example:
        >>> gram = torch.eye(4) + 0.5
        >>> float(ntk_matching(7 * gram, gram))
        0.0
    """
    checks.choice("form", form, NTK_FORMS)
    if student.ndim != 2 or student.shape != teacher.shape or student.shape[0] != student.shape[1]:
        raise InvalidArgument(
            "teacher", f"a Gram like the student's, {tuple(student.shape)}", f"{tuple(teacher.shape)}"
        )
    if form == "cka":
        if len(student) < 2:
            raise InvalidArgument("form", "a batch of two or more for the centred form", len(student))
        return 1 - ntk.alignment(student, teacher)
    if form == "scaled":
        student = student / student.diagonal().mean()
        teacher = teacher / teacher.diagonal().mean()
    return (student - teacher).square().mean()


def feature_matching(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """One minus the centred alignment of two feature spaces over the same batch.

    The features may differ in number and scale, as only the inner products between samples are compared
    (linear CKA: Kornblith et al., ICML 2019, arXiv 1905.00414), so no adapter has to be trained. Of maps
    every pixel is a sample; the finer maps are averaged to the grid of the coarser ones.

    Args:
        student: [n, ...], differentiable; maps are [n, c, y, x].
        teacher: [n, ...], maps if the student's are.

    Raises:
        InvalidArgument: a batch of one, batches of different length, or maps beside other features.

    Example:
        >>> x = torch.randn(6, 3)
        >>> float(feature_matching(5 * x, x)) < 1e-6
        True
        >>> maps = torch.randn(2, 3, 4, 4)
        >>> float(feature_matching(maps, maps.repeat_interleave(2, -1))) < 1e-6
        True
    """
    maps = student.ndim == 4
    if len(student) != len(teacher) or (len(student) < 2 and not maps):
        raise InvalidArgument(
            "teacher", "features of the same batch of two or more", f"{len(teacher)} for {len(student)}"
        )
    if maps != (teacher.ndim == 4):
        got = f"{tuple(teacher.shape[1:])} beside {tuple(student.shape[1:])}"
        raise InvalidArgument("teacher", "feature maps [c, y, x] of both or of neither", got)
    if maps:
        size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
        a, b = (F.adaptive_avg_pool2d(m, size).movedim(1, -1).flatten(0, -2) for m in (student, teacher))
        a, b = (m - m.mean(0) for m in (a, b))  # as many rows as pixels: the same by the smaller products
        own = torch.linalg.matrix_norm(a.mT @ a) * torch.linalg.matrix_norm(b.mT @ b)
        return 1 - over((a.mT @ b).square().sum(), own)
    a, b = student.flatten(1), teacher.flatten(1)
    return 1 - ntk.alignment(a @ a.mT, b @ b.mT)


def kernel_residual(
    logits: torch.Tensor, teacher: torch.Tensor, kernel: torch.Tensor, strength: float = 0.1
) -> torch.Tensor:
    r"""Difference of the outputs in the norm of the teacher's kernel.

    .. math:: \lambda\, \frac{\sum_c r_c^T (K / \bar k + \lambda)^{-1} r_c}{\sum_c |t_c|^2}

    with class-centred logits t of the teacher, the student's difference r from them and the kernel's mean
    diagonal. It is the squared norm of r in the kernel's space (arXiv 2301.12245 measures the complexity of
    targets in this norm, of the student's kernel), with a ridge: differences along which the kernel is large,
    which a network like the teacher learns at once, count little.

    Args:
        logits: student's, [n, classes, ...], differentiable.
        teacher: teacher's logits of the same shape.
        kernel: [n, n], positive semidefinite and not zero.
        strength: the ridge, positive.

    Raises:
        GridMismatch: student and teacher have different outputs.
        InvalidArgument: a kernel of another batch, a zero or an indefinite one.

    Example:
        >>> student, teacher = torch.zeros(2, 2), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> round(float(kernel_residual(student, teacher, torch.eye(2), strength=0.25)), 6)
        0.2
    """
    if logits.shape != teacher.shape:
        raise GridMismatch(
            "teacher", f"outputs {tuple(logits.shape)}, as the student's", f"{tuple(teacher.shape)}"
        )
    n = len(logits)
    if kernel.shape != (n, n):
        raise InvalidArgument("kernel", f"[{n}, {n}], a kernel of this batch", f"{tuple(kernel.shape)}")
    target = (teacher - teacher.mean(dim=1, keepdim=True)).flatten(1)
    residual = (logits - logits.mean(dim=1, keepdim=True)).flatten(1) - target
    ridge = strength * torch.eye(n, dtype=kernel.dtype, device=kernel.device)
    scale = kernel.diagonal().mean()
    factor, failed = torch.linalg.cholesky_ex(kernel / scale + ridge)
    if not bool(scale > 0) or bool(failed):
        raise InvalidArgument(
            "kernel", "a positive semidefinite kernel that is not zero",
            f"a mean diagonal of {float(scale):.3g}" + (", and an indefinite one" if scale > 0 else ""),
            "a teacher whose outputs depend on its parameters has one",
        )  # fmt: skip
    white = torch.linalg.solve_triangular(factor, residual.to(kernel), upper=False)
    return strength * white.square().sum() / target.square().sum().clamp_min(1e-30)
