"""A shape that is given, completed in the teacher's proportions: a space of one student."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.activations import ACT2FN

from kdnas.config import nearest
from kdnas.config.assistants import shape_in
from kdnas.config.shape import (
    ACTIVATION,
    ALL,
    DECODERS,
    EMBEDDINGS,
    HALF,
    HEAD_SIZE,
    HEADS,
    LAYERS,
    NEURONS,
    TOLD,
    WIDTH,
    shape_text,
)
from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.derivation import Choices, decoder_fields, embeddings_problem, head_size_choice
from kdnas.space.families import family_of
from kdnas.space.search_space import SearchSpace

Shape = Mapping[str, int | str]


class _NoSuchStudentError(ValueError):
    """No student of the teacher has this shape; the message names the option that gave it."""


def space_of_shape(config: Any, name: str, given: Shape) -> SearchSpace:
    """A space that holds one shape, for the config of a teacher, named in messages as `name`.

    Raises:
        KdnasError: The teacher is not a supported encoder, or no student of it has this shape.
    """
    space = SearchSpace.from_teacher(config, name)
    with _refused_as("architecture"):
        _check_fields(given, config, name)
        if given.get(LAYERS) == 0:
            return _static_space(given, space)
        shape = _completed(given, space)
    choices: Choices = {field: (value,) for field, value in shape.params.items()}
    choices |= head_size_choice(space.teacher)
    return SearchSpace(
        *(space.teacher, choices, space.excluded_sizes),
        head_multiple=space.head_multiple,
        shallow_decoder=space.shallow_decoder,
        own_embeddings=space.own_embeddings,
    )


def with_assistants(
    space: SearchSpace, words: Sequence[str], config: Any, name: str
) -> SearchSpace:
    """A space whose students are taught by others, as `kdnas.config.assistants` reads them.

    Shapes are completed in the teacher's proportions and spelled in full, so that one shape is one
    word. Teacher as for `space_of_shape`.

    Raises:
        KdnasError: No student of the teacher has one of the shapes, or it has no layers.
    """
    shapes = {word: shape for word in words if (shape := shape_in(word)) is not None}
    whole = SearchSpace.from_teacher(config, name) if shapes else space
    found = dict[str, str]()
    for word, given in shapes.items():
        # What looks like a shape may have been meant as a folder of that name.
        also = f"; the folder of that name is ./{word}" if Path(word).is_dir() else ""
        with _refused_as("assistants", also):
            _check_fields(given, config, name)
            if given.get(LAYERS) == 0:
                raise _wrong(given, "a student without layers teaches none", "give 1 layer or more")
            found[word] = shape_text(_completed(given, whole).params)
    return space.with_assistants([found.get(word, word) for word in words])


def _static_space(given: Shape, space: SearchSpace) -> SearchSpace:
    """A space that holds one static student."""
    if space.teacher.decoder:
        raise _wrong(given, "no encoder-decoder is without layers", "give 1 or more")
    for name in given:
        if name not in (LAYERS, WIDTH):
            what = f"a student without layers has no {name}"
            raise _wrong(given, what, f"give 0x{_width(given, space.teacher)}")
    _check_sizes(given, SearchSpace(space.teacher, space.choices))
    width = _width(given, space.teacher)
    shape = Architecture(0, 1, width, 1, space.teacher.hidden_act)
    return SearchSpace(space.teacher, {name: (v,) for name, v in shape.params.items()})


def complete(given: Shape, space: SearchSpace) -> Architecture:
    """A shape whose missing fields are derived from the teacher of a space.

    Layers (for `half` every second one), hidden size and activation are the teacher's; heads are as
    wide as the teacher's, or nearly so where that does not divide the hidden size; where they have
    a size of their own, their number is to the hidden size as the teacher's. So is the feed-forward
    size, and the decoder of an encoder-decoder. Embeddings are factorised only where that is given.

    Raises:
        KdnasError: It exceeds the teacher, its heads do not divide its hidden size, or its
            activation is unknown.
    """
    with _refused_as("architecture"):
        return _completed(given, space)


def _completed(given: Shape, space: SearchSpace) -> Architecture:
    teacher = space.teacher
    _check_sizes(given, space)
    width = _width(given, teacher)
    activation = str(given.get(ACTIVATION, teacher.hidden_act))
    if activation not in ACT2FN:
        raise _wrong(given, f"transformers knows no activation {activation!r}", _hint(activation))
    found = Architecture(
        num_hidden_layers=_layers(given, space, LAYERS),
        num_attention_heads=_heads(given, width, space),
        hidden_size=width,
        intermediate_size=_neurons(given, width, teacher, NEURONS),
        hidden_act=activation,
        own_head_size=teacher.own_head_size,
        embedding_size=_embeddings(given, space),
        **(_decoder(given, width, space) if teacher.decoder else {}),
    )
    if space.shallow_decoder and found.num_decoder_layers > found.num_hidden_layers:
        raise _wrong(
            given,
            f"a decoder of {found.num_decoder_layers} layers is deeper than its encoder of "
            f"{found.num_hidden_layers}, with which transformers does not generate",
            "give no more",
        )
    return found


def _decoder(given: Shape, width: int, space: SearchSpace) -> dict[str, int]:
    """The fields of a decoder; heads and neurons are the encoder's where the teacher's are."""
    teacher, values = space.teacher, space.teacher.values
    found = {DECODERS[LAYERS]: _layers(given, space, DECODERS[LAYERS])}
    for name in (HEADS, NEURONS):
        field = DECODERS[name]
        if field not in given and values[field] == values[name]:
            continue
        if name == HEADS:
            found[field] = _heads(given, width, space, field)
        else:
            found[field] = _neurons(given, width, teacher, field)
    return found


def _check_fields(given: Shape, config: Any, name: str) -> None:
    """Refuses what a family's configs cannot say of its embeddings and decoders."""
    family = family_of(config.model_type, name)
    if EMBEDDINGS in given and given.get(LAYERS) != 0 and not family.embedding_map:
        raise _wrong(given, embeddings_problem(config.model_type), f"leave {EMBEDDINGS} out")
    of_decoder = decoder_fields(family)
    for own, theirs in DECODERS.items():
        if theirs not in given or theirs in of_decoder:
            continue
        if not of_decoder:
            raise _wrong(given, "the teacher has no decoder", "leave what is behind + out")
        what = f"decoders of {config.model_type} have the {own} of encoders"
        raise _wrong(given, what, "leave what is behind that + out")


def _check_sizes(given: Shape, space: SearchSpace) -> None:
    """Refuses what exceeds the teacher, and a hidden size for which it has no weights."""
    whole = {EMBEDDINGS: space.own_embeddings, **space.teacher.values}
    for name, told in TOLD.items():
        value, most = given.get(name, 0), int(whole[name])
        if value not in (HALF, ALL) and int(value) > most:
            what = f"{told.format(value)} more than the teacher's {most}"
            raise _wrong(given, what, f"give 1 to {most}")
    size, own = given.get(HEAD_SIZE), space.teacher.own_head_size
    if size is not None and size != own:
        theirs = f"{own} dimensions each" if own else "no size of their own"
        what = f"heads of {size} dimensions are not the teacher's, which have {theirs}"
        raise _wrong(given, what, f"leave -d{size} out")
    width, narrow = _width(given, space.teacher), _embeddings(given, space)
    if narrow >= width:
        what = f"embedding size {narrow} is not below the hidden size {width}"
        raise _wrong(given, what, "give less, or leave it out")
    if width in space.excluded_sizes and not narrow:
        what = f"hidden size {width} is the size of the teacher's embeddings, which are then not"
        raise _wrong(given, f"{what} mapped, unlike the teacher's", "give another hidden size")


def _width(given: Shape, teacher: Architecture) -> int:
    return int(given.get(WIDTH, teacher.hidden_size))


def _embeddings(given: Shape, space: SearchSpace) -> int:
    """The width of the embeddings where they are narrower than the teacher's, 0 elsewhere."""
    narrow = int(given.get(EMBEDDINGS, 0))
    return 0 if narrow == space.own_embeddings else narrow


def _layers(given: Shape, space: SearchSpace, field: str) -> int:
    """The depth given of a stack; a decoder is left as deep beside its encoder as the teacher's."""
    most = int(space.teacher.values[field])
    if given.get(field) == HALF:
        return math.ceil(most / 2)
    if given.get(field) == ALL:
        return most
    if field in given or LAYERS not in given or field == LAYERS:
        return int(given.get(field, most))
    whole = space.teacher.num_hidden_layers
    return max(1, math.ceil(most * _layers(given, space, LAYERS) / whole))


def _neurons(given: Shape, width: int, teacher: Architecture, field: str) -> int:
    """The feed-forward size given of a stack, or one in the teacher's proportion to the width."""
    ratio = int(teacher.values[field]) / teacher.hidden_size
    return int(given.get(field, max(1, round(ratio * width))))


def _heads(given: Shape, width: int, space: SearchSpace, field: str = HEADS) -> int:
    """The heads given of a stack, or those nearest in width to the teacher's."""
    teacher, multiple = space.teacher, space.head_multiple
    even = " of an even width" if multiple == 2 else ""
    theirs = int(teacher.values[field])
    most = range(1, theirs + 1)
    own = bool(teacher.own_head_size)
    possible = [n for n in most if own or width % (n * multiple) == 0]
    if not possible:
        raise _wrong(given, f"hidden size {width} has no heads{even}", f"give {width - width % 2}")
    if field not in given:
        wide = teacher.hidden_size / theirs
        return min(possible, key=lambda n: abs(math.log(width / n / wide)))
    heads = int(given[field])
    if heads not in possible:
        what = f"{heads} heads{even} do not divide the hidden size {width}"
        *others, last = possible
        listed = f"{', '.join(map(str, others))} or {last}" if others else f"{last}"
        raise _wrong(given, what, f"give {listed}")
    return heads


def _hint(activation: str) -> str:
    """`give gelu, relu, silu` or `did you mean 'gelu'?`."""
    return nearest(activation, ACT2FN).removeprefix("; ") or "give gelu, relu or silu"


def _wrong(given: Shape, what: str, instead: str) -> _NoSuchStudentError:
    return _NoSuchStudentError(f"{shape_text(given)}: {what}; {instead}")


@contextmanager
def _refused_as(option: str, also: str = "") -> Iterator[None]:
    """Says of which option a shape is that no student of the teacher has."""
    try:
        yield
    except _NoSuchStudentError as error:
        raise KdnasError(f"invalid --{option} {error}{also}") from None
