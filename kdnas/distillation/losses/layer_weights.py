"""How much each teacher layer counts in what a student layer predicts, learnt."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Of the alternating normalisations; by then the sums are exact to a thousandth or so.
ROUNDS = 12


class LayerWeights(nn.Module):
    """Weights of all teacher layers for each student layer, shape (student layers, teacher layers).

    A student layer's weights are a softmax over teacher layers, as in Passban et al. 2021, ALP-KD:
    Attention-Based Layer Projection for Knowledge Distillation. Alone, each layer would choose the
    teacher layer that is easiest to predict. So the student layers together count every teacher
    layer equally: the weights are balanced in rows and columns (Cuturi 2013, Sinkhorn Distances; as
    a transport between layers in Li et al. 2020, BERT-EMD). What is left to learn is who predicts
    which. Each student layer starts around its own of equal parts of the teacher's layers, in their
    order; a single student layer has equal weights.

    Attributes:
        gram: Shape (teacher layers, teacher layers): covariance of the centred and scaled states of
            two layers, summed over dimensions; `measure` sets it.
    """

    gram: Tensor

    def __init__(self, student_layers: int, teacher_layers: int) -> None:
        super().__init__()
        ours, theirs = torch.arange(1, student_layers + 1), torch.arange(1, teacher_layers + 1)
        middle = (ours - 0.5) * teacher_layers / student_layers + 0.5
        self.affinity = nn.Parameter(-(middle[:, None] - theirs).abs())
        self.register_buffer("gram", torch.ones(teacher_layers, teacher_layers))

    def forward(self) -> Tensor:
        """Each row sums to 1, each column to student layers / teacher layers."""
        logs = self.affinity.float()
        column = math.log(logs.shape[0] / logs.shape[1])
        for _ in range(ROUNDS):
            logs = logs - logs.logsumexp(0, keepdim=True) + column
            logs = logs - logs.logsumexp(1, keepdim=True)
        return logs.exp()

    def of_unit_variance(self) -> Tensor:
        """The weights over the standard deviation of the sum that they give."""
        weights: Tensor = self()
        variance = torch.einsum("ij,jk,ik->i", weights, self.gram, weights)
        scaled: Tensor = weights / variance.clamp_min(1e-6).sqrt()[:, None]
        return scaled

    @torch.no_grad()
    def measure(self, batches: Iterable[Tensor]) -> None:
        """Sets `gram` from centred and scaled states, shape (teacher layers, tokens, size) each."""
        total, tokens = torch.zeros_like(self.gram), 0
        for states in batches:
            total += torch.einsum("jtd,ktd->jk", states, states)
            tokens += states.shape[1]
        self.gram.copy_(total / max(1, tokens))
