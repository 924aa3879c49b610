"""Loss terms of a student and a teacher; nothing here knows of optics.

Every term is a function of plain tensors and a mean over the batch, so that the terms of a method are
comparable and can be weighed against each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .. import checks
from ..errors import GridMismatch, InvalidArgument

__all__ = ["NTK_FORMS", "cross_entropy", "kd", "ntk_matching"]

NTK_FORMS = ("scaled", "cka", "raw")


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy to the labels, mean over samples (and pixels).

    Args:
        logits: [n, classes, ...].
        labels: int64 [n, ...].

    Example:
        >>> float(cross_entropy(torch.zeros(4, 10), torch.arange(4)))  # log 10
        2.3025851249694824
    """
    return F.cross_entropy(logits, labels)


def kd(logits: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    r"""Knowledge distillation: :math:`T^2\, KL(p_t \| p_s)` of softened outputs, mean over samples.

    The factor keeps the gradient's size when the temperature changes (Hinton, Vinyals, Dean,
    arXiv 1503.02531).

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
    if logits.shape != teacher.shape:
        raise GridMismatch(
            "teacher", f"outputs {tuple(logits.shape)}, as the student's", f"{tuple(teacher.shape)}"
        )
    student_log = F.log_softmax(logits / temperature, dim=1)
    teacher_log = F.log_softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * divergence.mean()


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
        a, b = _centred(student), _centred(teacher)
        return 1 - (a * b).sum() / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny)
    if form == "scaled":
        student = student / student.diagonal().mean()
        teacher = teacher / teacher.diagonal().mean()
    return (student - teacher).square().mean()


def _centred(gram: torch.Tensor) -> torch.Tensor:
    return gram - gram.mean(dim=0, keepdim=True) - gram.mean(dim=1, keepdim=True) + gram.mean()
