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
        return torch.dot(error.flatten(), error.flatten()) / len(error)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (error,) = ctx.saved_tensors
        return (error * (gradients[0] * (-2 / len(error)))).to(ctx.dtype), None


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


def logit_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL divergence of softened class probabilities, times T squared; MSE for one output.

    Hinton et al. 2015, Distilling the Knowledge in a Neural Network.

    Args:
        student: Shape (batch, classes).
        teacher: Shape (batch, classes).
        temperature: T; regression ignores it.
    """
    student, teacher = student.float(), teacher.float()
    if student.shape[-1] == 1:
        return F.mse_loss(student, teacher)
    wanted = F.log_softmax(teacher / temperature, dim=-1)
    given = F.log_softmax(student / temperature, dim=-1)
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with class ids; MSE where the model has one output.

    Args:
        logits: Shape (batch, classes).
        labels: Shape (batch,): class ids, or targets of a regression.
    """
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.float().squeeze(-1), labels.float())
    return F.cross_entropy(logits.float(), labels.long())
