"""The students that a person would pick without a search, as controls."""

from __future__ import annotations

from kdnas.space.architecture import Architecture
from kdnas.space.search_space import SearchSpace


def hand_picked(space: SearchSpace, winner: Architecture) -> list[Architecture]:
    """Students half as deep as the teacher and of every width, otherwise in its proportions.

    Who picks by hand takes every other layer, and of the widths the one that is fast enough.

    Args:
        space: Where each is the valid student nearest to that.
        winner: Left out.
    """
    teacher = space.teacher
    head_size = teacher.hidden_size / teacher.num_attention_heads
    ratio = teacher.intermediate_size / teacher.hidden_size
    depths = {a.num_hidden_layers for a in space.architectures}
    depth = min(depths, key=lambda d: (abs(d - teacher.num_hidden_layers / 2), -d))

    def distance(a: Architecture) -> tuple[float, ...]:
        return (
            abs(a.intermediate_size - ratio * a.hidden_size),
            abs(a.hidden_size / a.num_attention_heads - head_size),
            a.hidden_act != teacher.hidden_act,
        )

    others = [a for a in space.architectures if a.num_hidden_layers == depth and a != winner]
    widths = sorted({a.hidden_size for a in others})
    return [min((a for a in others if a.hidden_size == w), key=distance) for w in widths]
