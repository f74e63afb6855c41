"""How much a shape's layers multiply, whatever the machine."""

from __future__ import annotations

from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture, PrunedArchitecture


def arithmetic(a: Architecture) -> int:
    """Weights of a shape's layers: what a pass over a token multiplies."""
    twice = 2 * a.hidden_size
    encoder = a.num_hidden_layers * twice * (2 * a.heads_width + a.intermediate_size)
    if not a.num_decoder_layers:
        return encoder
    neurons = a.decoder_intermediate_size or a.intermediate_size
    heads = a.decoder_attention_heads or a.num_attention_heads
    width = a.own_head_size * heads or a.hidden_size
    return encoder + a.num_decoder_layers * twice * (4 * width + neurons)


def share_of_arithmetic(student: AnyArchitecture, teacher: Architecture) -> float:
    """What a student's layers multiply for a token as a share of its teacher's."""
    if isinstance(student, PrunedArchitecture):
        return student.share_of(teacher)
    return arithmetic(student) / arithmetic(teacher)
