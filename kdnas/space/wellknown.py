"""Student shapes that people have found good, and the corners of the space."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kdnas.space.architecture import Architecture
from kdnas.space.search_space import SearchSpace

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


def first_students(space: SearchSpace) -> list[Architecture]:
    """Well-known students, scaled to the teacher, between the space's largest and smallest.

    Each is the valid student nearest to its shape in logarithms; none comes twice.
    """
    known = [_nearest(space, shape) for shape in SHAPES]
    return list(dict.fromkeys([known[0], space.smallest, *known[1:4], space.largest, *known[4:]]))


def _nearest(space: SearchSpace, shape: Sequence[float]) -> Architecture:
    teacher = space.teacher
    wanted = [size * part for size, part in zip(_sizes(teacher), shape, strict=True)]

    def distance(a: Architecture) -> tuple[float, bool]:
        gaps = [abs(math.log(x / y)) for x, y in zip(_sizes(a), wanted, strict=True)]
        return (sum(gaps), a.hidden_act != teacher.hidden_act)

    return min(space.architectures, key=distance)


def _sizes(a: Architecture) -> tuple[int, int, int, int]:
    return (a.num_hidden_layers, a.num_attention_heads, a.hidden_size, a.intermediate_size)
