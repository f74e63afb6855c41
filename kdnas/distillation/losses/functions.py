"""Losses as plain functions of tensors; each is named in docs/papers.md."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LogitLoss = Literal["kl", "ce", "mse"]
UNLABELLED = -100


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over dimensions, averaged over tokens.

    With targets scaled by `scales` below this is the share of variance left unexplained.

    Args:
        predicted: Shape (tokens, dimensions).
        target: Shape (tokens, dimensions), float32; takes no gradient.
    """
    error: Tensor = _SquaredError.apply(predicted, target)  # type: ignore[no-untyped-call]
    return error


class _SquaredError(torch.autograd.Function):
    """One fp32 buffer where autograd's chain of small steps would fill four."""

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, target: Tensor) -> Tensor:
        error = target - predicted
        ctx.save_for_backward(error)
        ctx.dtype = predicted.dtype
        return torch.dot(error.flatten(), error.flatten()) / max(1, len(error))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (error,) = ctx.saved_tensors
        return (error * (gradients[0] * (-2 / max(1, len(error))))).to(ctx.dtype), None


def scales(variance: Tensor, normalisation: str) -> Tensor:
    """Factors for centred hidden states under which squared errors are what is asked for.

    - `layer`: the share of the layer's total variance left unexplained.
    - `dimension`: the share of each dimension's variance, averaged over dimensions.
    - `raw`: the plain mean squared error.

    Args:
        variance: Shape (hidden size,): variance of each dimension over the data's real tokens.
        normalisation: One of the three.

    Returns:
        Shape (hidden size,).
    """
    count = len(variance)
    if normalisation == "raw":
        return torch.full_like(variance, count**-0.5)
    if normalisation == "layer":
        return variance.sum().clamp_min(1e-12).rsqrt().expand(count).clone()
    return (variance.clamp_min(1e-6 * float(variance.mean()) + 1e-12) * count).rsqrt()


def logit_loss(
    student: Tensor, teacher: Tensor, temperature: float, kind: LogitLoss = "kl"
) -> Tensor:
    """How far softened class probabilities are apart, times T squared, or the logits themselves.

    Hinton et al. 2015, Distilling the Knowledge in a Neural Network. `kl` is the divergence from
    the teacher; `ce`, the soft cross-entropy, is larger by the teacher's entropy and has the same
    gradient; `mse` is the squared error of the logits (Ba and Caruana 2014, Do Deep Nets Really
    Need to be Deep?). Models with one output take `mse` whatever is asked for.

    Args:
        student: Shape (batch, classes).
        teacher: Shape (batch, classes).
        temperature: T; `mse` ignores it.
        kind: Which.
    """
    student, teacher = student.float(), teacher.float()
    if kind == "mse" or student.shape[-1] == 1:
        return F.mse_loss(student, teacher)
    given = F.log_softmax(student / temperature, dim=-1)
    if kind == "ce":
        return F.cross_entropy(given, (teacher / temperature).softmax(-1)) * temperature**2
    wanted = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2


def logit_variance(logits: Tensor) -> float:
    """Variance of a teacher's logits over examples, summed over outputs.

    Args:
        logits: Shape (examples, classes).
    """
    return float(_without_offset(logits).var(0, correction=0).sum())


def unexplained_logits(student: Tensor, teacher: Tensor, variance: float) -> Tensor:
    """Share of the variance of a teacher's logits that a student leaves unexplained.

    0 for the teacher's own logits, 1 for predicting their mean everywhere. What is added to all
    classes of an example alike changes no probability and does not count.

    Args:
        student: Shape (batch, classes).
        teacher: Shape (batch, classes).
        variance: From `logit_variance`.
    """
    errors = _without_offset(student) - _without_offset(teacher)
    return errors.square().sum(-1).mean() / max(variance, 1e-12)


def _without_offset(logits: Tensor) -> Tensor:
    logits = logits.float()
    return logits if logits.shape[-1] == 1 else logits - logits.mean(-1, keepdim=True)


def relation_loss(student: Tensor, teacher: Tensor, bias: Tensor) -> Tensor:
    """KL divergence of self-attention relations, averaged over heads and real tokens.

    A relation is the softmax over an example's tokens of the scaled products of one token's vector
    with all of them. Wang et al. 2021, MiniLMv2: Multi-Head Self-Attention Relation Distillation.

    Args:
        student: Shape (examples, relation heads, length, size): queries, keys or values.
        teacher: Same shape; the size may differ.
        bias: Shape (examples, 1, 1, length): 0 for real tokens, a very negative number for padding.
    """
    ours, theirs = _relations(student, bias), _relations(teacher, bias)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1)
    real = (bias == 0).transpose(-1, -2).squeeze(-1)
    return (divergence * real).sum() / (real.sum() * divergence.shape[1])


def _relations(states: Tensor, bias: Tensor) -> Tensor:
    scores = states @ states.transpose(-1, -2) * states.shape[-1] ** -0.5
    return F.log_softmax(scores.float() + bias, dim=-1)


def labelled(labels: Tensor) -> Tensor:
    """Which examples have a label: class ids other than -100, targets other than NaN."""
    return labels.isfinite() if labels.is_floating_point() else labels != UNLABELLED


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with class ids; MSE where the model has one output.

    Args:
        logits: Shape (batch, classes).
        labels: Shape (batch,): class ids, or targets of a regression. Examples without one (-100,
            or NaN) do not count; without any label the loss is 0.
    """
    if logits.shape[-1] == 1:
        known = labelled(labels)
        errors = (logits.float().squeeze(-1) - labels.float().nan_to_num()).square() * known
        return errors.sum() / known.sum().clamp_min(1)
    known = labelled(labels)
    total = F.cross_entropy(logits.float(), labels.long(), reduction="sum")
    return total / known.sum().clamp_min(1)
