"""How far relations among tokens are from a teacher's, with its gradient, a few blocks at a time.

Scores of all tokens with all others are many times larger than the states that they are of.
Autograd would write a dozen such tables to memory and read them back; here each part stays in the
cache until its gradient is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Scores that are computed together on a CPU: a megabyte. From four times as many on it is slower.
_TOGETHER = 1 << 18
# Below it a probability counts as this one. Where exp would underflow, as with padding, it takes
# twenty times as long on CPUs.
_LEAST_LOG = -80.0


def relation_divergence(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    bias: Tensor,
    weights: Tensor,
) -> Tensor:
    """Weighted sum of the KL divergences of tokens' relations, float32.

    On CPUs in fp32 under autocast, too: heads are so narrow that bf16 products save less than
    casting their scores takes.

    Args:
        student: What is related and what it is related to, shape (examples, heads, length, size)
            each.
        teacher: Likewise, of any size; takes no gradient.
        bias: Added to scores, shape (examples, 1, 1 or length, length).
        weights: Of tokens, shape (examples, 1 or heads, length).
    """
    with torch.autocast("cpu", enabled=False):
        found: Tensor = _Divergence.apply(
            *(*student, *teacher, bias, weights, torch.is_grad_enabled())
        )  # type: ignore[no-untyped-call]
    return found


class _Divergence(torch.autograd.Function):
    """The gradient of KL(p || softmax(scores)) is softmax(scores) - p: known at once."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        their_queries: Tensor,
        their_keys: Tensor,
        bias: Tensor,
        weights: Tensor,
        trains: bool,
    ) -> Tensor:
        total = torch.zeros((), device=queries.device)
        found = [torch.empty_like(states) for states in (queries, keys)] if trains else []
        for part in _parts(queries, keys):
            ours = _relations(queries[part], keys[part], bias[part])
            theirs = _relations(their_queries[part], their_keys[part], bias[part])
            p = theirs.clamp_min(_LEAST_LOG).exp_()
            total += (theirs.sub_(ours).mul_(p).sum(-1) * weights[part]).sum()
            if trains:
                scale = weights[part, ..., None] * queries.shape[-1] ** -0.5
                slope = ours.clamp_min_(_LEAST_LOG).exp_().sub_(p).mul_(scale)
                found[0][part] = slope @ keys[part]
                found[1][part] = slope.transpose(-1, -2) @ queries[part]
        ctx.save_for_backward(*found)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *(slope * gradients[0] for slope in ctx.saved_tensors), *[None] * 5


def _relations(queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    """Logarithms of each token's relations to all."""
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return F.log_softmax(scores.float().add_(bias), dim=-1)


def _parts(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Examples whose scores are computed together; on a GPU all."""
    count, heads, length, _ = queries.shape
    step = count
    if queries.device.type == "cpu":
        step = max(1, _TOGETHER // max(1, heads * length * keys.shape[2]))
    return (slice(start, start + step) for start in range(0, count, max(1, step)))
