"""The student that a person would pick without a search, as a control."""

from __future__ import annotations

from kdnas.space.architecture import Architecture
from kdnas.space.space import SearchSpace


def hand_picked(space: SearchSpace, winner: Architecture) -> Architecture | None:
    """A student as deep as the winner, half as wide as the teacher, otherwise in its proportions.

    It is the valid student nearest to that; never the winner itself. None where the space has no
    other student of that depth.
    """
    teacher = space.teacher
    half = teacher.hidden_size / 2
    head_size = teacher.hidden_size / teacher.num_attention_heads
    ratio = teacher.intermediate_size / teacher.hidden_size

    def distance(a: Architecture) -> tuple[float, ...]:
        return (
            abs(a.hidden_size - half),
            abs(a.intermediate_size - ratio * half),
            abs(a.hidden_size / a.num_attention_heads - head_size),
            a.hidden_act != teacher.hidden_act,
        )

    equal = [a for a in space.architectures if a.num_hidden_layers == winner.num_hidden_layers]
    return min((a for a in equal if a != winner), key=distance, default=None)
