"""Losses as plain functions of tensors; each is named in docs/papers.md."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


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


def logit_variance(logits: Tensor) -> float:
    """Variance of a teacher's logits over units, summed over outputs.

    Args:
        logits: Shape (units, outputs), centred as the task's type does.
    """
    return float(logits.var(0, correction=0).sum())


def unexplained_logits(student: Tensor, teacher: Tensor, variance: float) -> Tensor:
    """Share of the variance of a teacher's logits that a student leaves unexplained.

    0 for the teacher's own logits, 1 for predicting their mean everywhere.

    Args:
        student: Shape (units, outputs), centred as the task's type does.
        teacher: Likewise.
        variance: From `logit_variance`.
    """
    return (student - teacher).square().sum(-1).mean() / max(variance, 1e-12)


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
