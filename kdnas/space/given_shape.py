"""A shape that is given, completed in the teacher's proportions: a space of one student."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers.activations import ACT2FN

from kdnas.config import nearest
from kdnas.config.shape import ACTIVATION, HALF, HEADS, LAYERS, NEURONS, TOLD, WIDTH, shape_text
from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.derivation import Choices
from kdnas.space.search_space import SearchSpace

Shape = Mapping[str, int | str]


def space_of_shape(config: Any, name: str, given: Shape) -> SearchSpace:
    """A space that holds one shape, for the config of a teacher, named in messages as `name`.

    Raises:
        KdnasError: The teacher is not a supported encoder, or no student of it has this shape.
    """
    space = SearchSpace.from_teacher(config, name)
    shape = complete(given, space)
    choices: Choices = {field: (value,) for field, value in shape.params.items()}
    multiple = space.head_multiple
    return SearchSpace(space.teacher, choices, space.excluded_sizes, head_multiple=multiple)


def complete(given: Shape, space: SearchSpace) -> Architecture:
    """A shape whose missing fields are derived from the teacher of a space.

    Layers (for `half` every second one), hidden size and activation are the teacher's; heads are as
    wide as the teacher's, or nearly so where that does not divide the hidden size; the feed-forward
    size is to the hidden size as the teacher's.

    Raises:
        KdnasError: It exceeds the teacher, its heads do not divide its hidden size, or its
            activation is unknown.
    """
    teacher = space.teacher
    _check_sizes(given, space)
    layers, width = given.get(LAYERS, teacher.num_hidden_layers), _width(given, teacher)
    if layers == HALF:
        layers = math.ceil(teacher.num_hidden_layers / 2)
    neurons = teacher.intermediate_size * width / teacher.hidden_size
    activation = str(given.get(ACTIVATION, teacher.hidden_act))
    if activation not in ACT2FN:
        raise _wrong(given, f"transformers knows no activation {activation!r}", _hint(activation))
    return Architecture(
        num_hidden_layers=int(layers),
        num_attention_heads=_heads(given, width, space),
        hidden_size=width,
        intermediate_size=int(given.get(NEURONS, max(1, round(neurons)))),
        hidden_act=activation,
    )


def _check_sizes(given: Shape, space: SearchSpace) -> None:
    """Refuses what exceeds the teacher, and a hidden size for which it has no weights."""
    for name, told in TOLD.items():
        value, most = given.get(name, 0), int(getattr(space.teacher, name))
        if value != HALF and int(value) > most:
            what = f"{told.format(value)} more than the teacher's {most}"
            raise _wrong(given, what, f"give 1 to {most}")
    width = _width(given, space.teacher)
    if width in space.excluded_sizes:
        what = f"hidden size {width} is the size of the teacher's embeddings, which are then not"
        raise _wrong(given, f"{what} mapped, unlike the teacher's", "give another hidden size")


def _width(given: Shape, teacher: Architecture) -> int:
    return int(given.get(WIDTH, teacher.hidden_size))


def _heads(given: Shape, width: int, space: SearchSpace) -> int:
    """The heads given, or those nearest in width to the teacher's."""
    teacher, multiple = space.teacher, space.head_multiple
    even = " of an even width" if multiple == 2 else ""
    most = range(1, teacher.num_attention_heads + 1)
    possible = [n for n in most if width % (n * multiple) == 0]
    if not possible:
        raise _wrong(given, f"hidden size {width} has no heads{even}", f"give {width - width % 2}")
    if HEADS not in given:
        own = teacher.hidden_size / teacher.num_attention_heads
        return min(possible, key=lambda n: abs(math.log(width / n / own)))
    heads = int(given[HEADS])
    if heads not in possible:
        what = f"{heads} heads{even} do not divide the hidden size {width}"
        *others, last = possible
        listed = f"{', '.join(map(str, others))} or {last}" if others else f"{last}"
        raise _wrong(given, what, f"give {listed}")
    return heads


def _hint(activation: str) -> str:
    """`give gelu, relu, silu` or `did you mean 'gelu'?`."""
    return nearest(activation, ACT2FN).removeprefix("; ") or "give gelu, relu or silu"


def _wrong(given: Shape, what: str, instead: str) -> KdnasError:
    return KdnasError(f"invalid --architecture {shape_text(given)}: {what}; {instead}")
