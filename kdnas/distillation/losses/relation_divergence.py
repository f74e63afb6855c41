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

from kdnas.distillation.batches import padded

# Scores that are computed together on a CPU: half a megabyte. From four times as many on it is
# slower.
_TOGETHER = 1 << 17
# Scores are computed for a multiple of so many tokens: products of such tables are faster.
_MULTIPLE = 8
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
        found = [torch.zeros_like(states) for states in (queries, keys)] if trains else []
        size = queries.shape[-1] ** -0.5
        for part, length, width in _parts(bias, weights, queries.shape[1]):
            query, key = (part, slice(None), slice(length)), (part, slice(None), slice(width))
            seen, weight = bias[part, :, :length, :width], weights[query][..., None]
            own_queries, own_keys = _by_head(queries[query], keys[key])
            ours = _relations(own_queries, own_keys, seen)
            theirs = _relations(*_by_head(their_queries[query], their_keys[key]), seen)
            p = theirs.clamp_min(_LEAST_LOG).exp_()
            kl = theirs.sub_(ours).mul_(p).sum(-1)
            total += (kl.view_as(own_queries[..., 0]) * weight[..., 0]).sum()
            if trains:
                slope = ours.clamp_min_(_LEAST_LOG).exp_().sub_(p)
                to_queries = slope.bmm(own_keys.flatten(0, 1)).view_as(own_queries)
                found[0][query] = to_queries.mul_(size * weight)
                to_keys = slope.transpose(1, 2).bmm(own_queries.mul_(weight).flatten(0, 1))
                found[1][key] = to_keys.view_as(own_keys)
        ctx.save_for_backward(*found)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *(slope * gradients[0] for slope in ctx.saved_tensors), *[None] * 5


def _by_head(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled queries, and keys: tokens of a head next to each other, as products want them."""
    scale, found = keys.shape[-1] ** -0.5, keys.contiguous()
    same = queries.data_ptr() == keys.data_ptr() and queries.shape == keys.shape
    return (found if same else queries.contiguous()) * scale, found


def _relations(queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    """Logarithms of each token's relations to all, shape (examples * heads, queries, keys)."""
    scores = queries.flatten(0, 1).bmm(keys.flatten(0, 1).transpose(1, 2)).float()
    scores.view(*queries.shape[:3], -1).add_(bias)
    return F.log_softmax(scores, dim=-1)


def _parts(bias: Tensor, weights: Tensor, heads: int) -> Iterator[tuple[slice, int, int]]:
    """Examples whose scores are computed together, and how many queries and keys they have.

    Most batches have their examples by length, so that those of a part are about equally long. On a
    GPU all are one part, as long as the longest.
    """
    most = (weights.shape[-1], bias.shape[-1])
    if bias.device.type != "cpu":
        yield slice(0, len(bias)), *most
        return
    lengths = _reach((weights != 0).any(1), most[0])
    widths = _reach((bias > _LEAST_LOG).flatten(1, -2).any(1), most[1])
    start, own = 0, (0, 0)
    for place, each in enumerate(zip(lengths, widths, strict=True)):
        wider = (max(own[0], each[0]), max(own[1], each[1]))
        if place > start and (place + 1 - start) * heads * wider[0] * wider[1] > _TOGETHER:
            yield slice(start, place), *own
            start, wider = place, each
        own = wider
    if own[0] and own[1]:
        yield slice(start, len(bias)), *own


def _reach(real: Tensor, most: int) -> list[int]:
    """Places up to each row's last real one, rounded up; 0 of rows without any."""
    last = (real * torch.arange(1, real.shape[-1] + 1)).amax(-1)
    return [min(most, padded(int(each), _MULTIPLE)) for each in last]
