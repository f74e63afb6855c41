"""Student shapes from the literature, and those that a person would pick without a search."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture
from kdnas.space.search_space import SearchSpace, embedding_rank

# Layers, heads, hidden size and neurons of students of BERT-base, relative to its own.
SHAPES = (
    (6 / 12, 1.0, 1.0, 1.0),  # DistilBERT (Sanh et al. 2019), TinyBERT6 (Jiao et al. 2020)
    (4 / 12, 1.0, 312 / 768, 1200 / 3072),  # TinyBERT4 (Jiao et al. 2020)
    (6 / 12, 1.0, 384 / 768, 1536 / 3072),  # MiniLM-L6 (Wang et al. 2020)
    (7 / 12, 1.0, 160 / 768, 800 / 3072),  # AutoDistil, small (Xu et al. 2022)
    (4 / 12, 8 / 12, 512 / 768, 2048 / 3072),  # BERT-small (Turc et al. 2019)
    (11 / 12, 1.0, 352 / 768, 1408 / 3072),  # AutoDistil, base (Xu et al. 2022)
    (3 / 12, 1.0, 1.0, 1.0),  # PKD-3 (Sun et al. 2019)
    (4 / 12, 4 / 12, 256 / 768, 1024 / 3072),  # BERT-mini (Turc et al. 2019)
    (2 / 12, 2 / 12, 128 / 768, 512 / 3072),  # BERT-tiny (Turc et al. 2019)
)
# Those of encoder-decoders: a decoder's layers and neurons behind the encoder's.
TWO_STACKS = (
    (1.0, 1.0, 1.0, 1.0, 1 / 12, 1.0),  # 12-1 (Kasai et al. 2021)
    (1.0, 1.0, 1.0, 1.0, 3 / 12, 1.0),  # DistilBART-12-3 (Shleifer and Rush 2020)
    (6 / 12, 1.0, 1.0, 1.0, 6 / 12, 1.0),  # DistilBART-6-6 (Shleifer and Rush 2020)
    (1.0, 1.0, 384 / 768, 1536 / 3072, 3 / 12, 1536 / 3072),  # the narrow ones of half the width
    (6 / 12, 1.0, 384 / 768, 1536 / 3072, 3 / 12, 1536 / 3072),
    (6 / 12, 1.0, 1.0, 1.0, 1 / 12, 1.0),
)

# Shares of the teacher's layers that a person would keep, the usual one first.
HALF = 1 / 2
DEPTHS = (HALF, 5 / 6, 1.0, 1 / 3)


def known_shapes(space: SearchSpace) -> list[Architecture]:
    """Published students, scaled to the teacher, among the space's largest and smallest shapes.

    Each is the valid shape nearest to the published one in logarithms, without duplicates.
    """
    own = _sizes(space.teacher)
    sized = [(_sizes(a), a) for a in space.architectures]

    def distance(one: tuple[tuple[int, ...], Architecture], wanted: list[float]) -> Any:
        gap = sum(abs(math.log(size / part)) for size, part in zip(one[0], wanted, strict=True))
        return gap, one[1].hidden_act != space.teacher.hidden_act, -embedding_rank(one[1])

    shapes = TWO_STACKS if space.teacher.decoder else SHAPES
    parts = [[whole * part for whole, part in zip(own, shape, strict=True)] for shape in shapes]
    known = [min(sized, key=lambda one: distance(one, wanted))[1] for wanted in parts]
    return list(dict.fromkeys([known[0], space.smallest, *known[1:4], space.largest, *known[4:]]))


def hand_picked(
    space: SearchSpace, but: AnyArchitecture | None = None, depth: float = HALF
) -> list[Architecture]:
    """Shapes of a share of the teacher's layers, one a width, otherwise near its proportions.

    A person without a search takes every other layer, and the width that is fast enough. They keep
    the teacher's heads, as DistilBERT, TinyBERT and MiniLM do: among students of one speed, those
    with fewer were worse (docs/results/students-of-one-speed.md). One shape (`but`) is left out.
    """
    teacher, space = space.teacher, space.whole  # nobody counts arithmetic by hand
    ratio = teacher.intermediate_size / teacher.hidden_size

    def distance(a: Architecture) -> tuple[float, ...]:
        return (
            abs(a.intermediate_size - ratio * a.hidden_size),
            a.decoder_intermediate_size,  # 0: the encoder's
            abs(a.num_attention_heads - teacher.num_attention_heads),
            a.hidden_act != teacher.hidden_act,
            -embedding_rank(a),
        )

    layers = _nearest(depth * teacher.num_hidden_layers, space.architectures, "num_hidden_layers")
    shapes = [a for a in space.architectures if a.num_hidden_layers == layers and a != but]
    if teacher.decoder:
        decoders = _nearest(depth * teacher.num_decoder_layers, shapes, "num_decoder_layers")
        shapes = [a for a in shapes if a.num_decoder_layers == decoders]
    widths = sorted({a.hidden_size for a in shapes})
    return [min((a for a in shapes if a.hidden_size == w), key=distance) for w in widths]


def narrower(space: SearchSpace, shape: Architecture, share: float) -> Architecture | None:
    """The widest shape that is at most a share as wide, below 1, and otherwise as it was.

    Its neurons are as many times its width as before, as nearly as the space has them. None where
    the space has no such shape.
    """
    width, neurons = shape.hidden_size, shape.intermediate_size

    def alike(a: Architecture) -> bool:
        as_wide = replace(a, hidden_size=width, intermediate_size=neurons)
        return a.hidden_size <= share * width and as_wide == shape

    def preference(a: Architecture) -> tuple[float, float]:
        return a.hidden_size, -abs(a.intermediate_size - neurons / width * a.hidden_size)

    return max(filter(alike, space.architectures), key=preference, default=None)


def _nearest(wanted: float, shapes: Iterable[Architecture], field: str) -> int:
    """The value of a field, among those of some shapes, nearest to a wanted one; 0 of none."""
    values: set[int] = {getattr(a, field) for a in shapes}
    return min(values, key=lambda value: (abs(value - wanted), -value), default=0)


def _sizes(a: Architecture) -> tuple[int, ...]:
    encoder = (a.num_hidden_layers, a.num_attention_heads, a.hidden_size, a.intermediate_size)
    if not a.num_decoder_layers:
        return encoder
    return (*encoder, a.num_decoder_layers, a.decoder_intermediate_size or a.intermediate_size)
