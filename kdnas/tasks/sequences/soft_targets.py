"""The distance of two distributions over a vocabulary, in little memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Numbers that are worked on at once: 64 MB of float32.
CHUNK = 1 << 24


class SoftDistance(torch.autograd.Function):
    """KL divergence or soft cross-entropy of a teacher's and a student's tokens, times T squared.

    Both are of shape (units, vocabulary); the value is the mean over units. Its gradient is that
    of Hinton et al. 2015, (softmax(student / T) - softmax(teacher / T)) * T / units, worked out
    chunk by chunk beside the value: it is all that is kept for the way back.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, temperature: float, divergence: bool
    ) -> Tensor:
        units, size = student.shape
        gradient = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        value = student.new_zeros(())
        step = max(1, CHUNK // size)
        for begin in range(0, units, step):
            part = slice(begin, begin + step)
            given = (student[part] / temperature).log_softmax(-1)
            wanted = (teacher[part].to(student.dtype) / temperature).log_softmax(-1)
            chances = wanted.exp()
            value += (chances * (wanted - given if divergence else -given)).sum()
            if gradient is not None:
                gradient[part] = given.exp_().sub_(chances).mul_(temperature / units)
        ctx.gradient = gradient
        return value * (temperature**2 / units)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        return (None if gradient is None else gradient.mul_(gradients[0])), None, None, None


def soft_distance(
    student: Tensor, teacher: Tensor, temperature: float, *, divergence: bool
) -> Tensor:
    """See `SoftDistance`; `divergence`: KL from the teacher, else soft cross-entropy."""
    found: Tensor = SoftDistance.apply(student, teacher, temperature, divergence)  # type: ignore[no-untyped-call]
    return found
