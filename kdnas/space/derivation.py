"""Derives the choices of the search from a teacher's config."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdnas.errors import KdnasError
from kdnas.space.architecture import DECODER_FIELDS, ENCODERS, FIELDS, HEAD_SIZE, Architecture
from kdnas.space.families import FAMILIES, Family, family_of

DEPTH_STEPS = 6
WIDTH_STEPS = 8
NEURON_STEPS = 4
FEWEST_HEADS = 4
# Stands for the teacher's own value among choices.
TEACHERS = "teacher"
# Fields of configs that give the size of a head beside their number.
HEAD_SIZES = ("attention_head_size", "head_dim", "d_kv")
# Fields that make other layers of what is otherwise a supported family.
OTHER_LAYERS = ("rotary_value", "talking_head")

Choices = dict[str, tuple[int | str, ...]]


def teacher_architecture(config: Any, family: Family) -> Architecture:
    """The fields of a teacher's config."""
    own = {name: family.read(config, name) for name in FIELDS}
    if field := family.fields.get(HEAD_SIZE):
        own[HEAD_SIZE] = getattr(config, field, None) or 0
    if family.decoder is None:
        return Architecture(**own)
    theirs = (*FIELDS[:2], "intermediate_size")
    values = (family.decoder.read(config, name) for name in theirs)
    return Architecture(**own, **dict(zip(DECODER_FIELDS, values, strict=True)))


def decoder_fields(family: Family) -> tuple[str, ...]:
    """The fields of a decoder for which a family's configs have names of their own."""
    if family.decoder is None:
        return ()
    own = {n: (family.field_name(e), family.decoder.field_name(e)) for n, e in ENCODERS.items()}
    return (DECODER_FIELDS[0], *(name for name, (ours, theirs) in own.items() if ours != theirs))


def embeddings_problem(model_type: str) -> str:
    """Why students of a family cannot have factorised embeddings, and of which they can."""
    able = sorted(name for name, family in FAMILIES.items() if family.embedding_map)
    return (
        f"token embeddings of {model_type} are as wide as its hidden states in transformers; only "
        f"students of {', '.join(able)} have narrower ones"
    )


def check_regular(config: Any, teacher: Architecture, name: str) -> None:
    """Refuses encoders whose layers the five fields do not describe.

    Raises:
        KdnasError: A layer groups several inner layers, heads have a size that their family cannot
            have or share keys and values, values are rotated or heads mixed, or two stacks do not
            fit together.
    """
    _check_stacks(config, name)
    inner = getattr(config, "inner_group_num", 1)
    if inner != 1:
        raise KdnasError(
            f"unsupported teacher {name!r}: inner_group_num is {inner}; kdnas supports 1"
        )
    own = family_of(config.model_type, name).fields.get(HEAD_SIZE)
    for field in HEAD_SIZES:
        size = vars(config).get(field)
        if field != own and size and size * teacher.num_attention_heads != teacher.hidden_size:
            raise KdnasError(
                f"unsupported teacher {name!r}: {teacher.num_attention_heads} heads of {size} "
                f"dimensions do not make up its hidden size, {teacher.hidden_size}"
            )
    groups = getattr(config, "num_key_value_heads", None)
    if groups and groups != teacher.num_attention_heads:
        raise KdnasError(
            f"unsupported teacher {name!r}: its {teacher.num_attention_heads} heads share "
            f"{groups} keys and values; kdnas supports heads with keys and values of their own"
        )
    angles = getattr(config, "rope_parameters", None) or {}
    for each in (angles, *angles.values()):  # of all layers, or of those of each kind
        if isinstance(each, dict) and each.get("rope_type") == "longrope":
            raise KdnasError(
                f"unsupported teacher {name!r}: rope_type is longrope, whose factors fit one head "
                "size; kdnas supports the types that fit any"
            )
    for field in OTHER_LAYERS:
        if getattr(config, field, False):
            raise KdnasError(
                f"unsupported teacher {name!r}: {field} is on; kdnas supports layers without it"
            )


def _check_stacks(config: Any, name: str) -> None:
    """Refuses encoder-decoders of other parts than kdnas knows, or whose stacks differ in width."""
    family = family_of(config.model_type, name)
    if family.decoder is None:
        return
    for side in ("encoder", "decoder") if family.inner else ():
        kind = getattr(config, side).model_type
        if kind not in family.inner:
            raise KdnasError(
                f"unsupported teacher {name!r}: its {side} is of the model type {kind!r}; kdnas "
                f"supports {', '.join(family.inner)}"
            )
    depths = (family.read(config, FIELDS[0]), family.decoder.read(config, FIELDS[0]))
    if family.shallow_decoder and depths[1] > depths[0]:
        raise KdnasError(
            f"unsupported teacher {name!r}: its decoder has {depths[1]} layers, its encoder "
            f"{depths[0]}; transformers generates only with decoders that are no deeper"
        )
    for field in ("hidden_size", "hidden_act"):
        ours, theirs = family.read(config, field), family.decoder.read(config, field)
        if ours != theirs:
            raise KdnasError(
                f"unsupported teacher {name!r}: its encoder has {field} {ours}, its decoder "
                f"{theirs}; kdnas supports stacks that have the same"
            )


def derive_choices(
    teacher: Architecture, multiple: int = 1, of_decoder: Sequence[str] = ()
) -> Choices:
    """Choices by field; every combination is a valid student.

    - `num_hidden_layers`: sixths of the teacher's depth, rounded up.
    - `num_attention_heads`: the divisors of the teacher's head count, from a quarter of it up.
    - `hidden_size`: the teacher's head count times eighths of its head size. Every choice is a
      multiple of the teacher's head count, so each of its divisors divides it too. Heads are as
      wide as a multiple of `multiple`. Of a teacher whose heads have a size of their own, eighths
      of its hidden size; `own_head_size` is the teacher's.
    - `intermediate_size`: quarters of the teacher's.
    - `hidden_act`: the teacher's own, and `relu`, the cheapest.

    A decoder, of which a config says `of_decoder`, adds

    - `num_decoder_layers`: 1, and sixths of the teacher's decoder. Kasai et al. 2021, Deep Encoder,
      Shallow Decoder.
    - `decoder_intermediate_size`: quarters of the teacher's.
    - `decoder_attention_heads`: as above, of a teacher whose stacks differ in their heads; else a
      student has as many as in its encoder.
    """
    heads, depth = teacher.num_attention_heads, teacher.num_hidden_layers
    decoder = teacher.decoder
    unit = multiple * math.lcm(heads, decoder.num_attention_heads if decoder else 1)
    unit = 1 if teacher.own_head_size else unit
    sizes = _shares(teacher.hidden_size // unit, WIDTH_STEPS)
    choices: Choices = {
        "num_hidden_layers": _shares(depth, DEPTH_STEPS, up=True),
        "num_attention_heads": _divisors(heads),
        "hidden_size": tuple(unit * size for size in sizes),
        "intermediate_size": _shares(teacher.intermediate_size, NEURON_STEPS),
        "hidden_act": tuple(dict.fromkeys((teacher.hidden_act, "relu"))),
        **head_size_choice(teacher),
    }
    if decoder is None:
        return choices
    depths = _shares(decoder.num_hidden_layers, DEPTH_STEPS, up=True)
    own: Choices = {
        "num_decoder_layers": tuple(sorted({1, *depths})),
        "decoder_intermediate_size": _shares(decoder.intermediate_size, NEURON_STEPS),
    }
    if decoder.num_attention_heads != heads:
        own["decoder_attention_heads"] = _divisors(decoder.num_attention_heads)
    return choices | {name: own[name] for name in of_decoder if name in own}


def head_size_choice(teacher: Architecture) -> Choices:
    """The one size of heads in a teacher's space, where it is their own."""
    return {HEAD_SIZE: (teacher.own_head_size,)} if teacher.own_head_size else {}


def _divisors(heads: int) -> tuple[int, ...]:
    """Those from a quarter of a number of heads up."""
    few = range(1, heads + 1)
    return tuple(n for n in few if heads % n == 0 and n * FEWEST_HEADS >= heads)


def replace_choices(
    choices: Choices,
    replacements: Mapping[str, Sequence[int | float | str]],
    teacher: Architecture,
    further: Sequence[str] = (),
) -> Choices:
    """Replaces derived choices by the user's, in which the word `teacher` is the teacher's own.

    `further` fields may be chosen, too, which not every family has.

    Raises:
        KdnasError: A field is unknown, its list is empty, or a value has the wrong type.
    """
    replaced = dict(choices)
    for name, values in replacements.items():
        if name not in (*FIELDS, *further):
            known = ", ".join((*FIELDS, *further))
            raise KdnasError(f"unknown field in space: {name!r}; known: {known}")
        kind = str if name == "hidden_act" else int
        theirs = teacher.values.get(name, 0)  # 0: as the teacher's, of what is rarely chosen
        own: list[Any] = [theirs if v == TEACHERS else v for v in values]
        if not own or any(type(value) is not kind for value in own):
            raise KdnasError(
                f"invalid space.{name}: {values!r}; expected a list of {kind.__name__} values"
            )
        replaced[name] = tuple(dict.fromkeys(own))
    return replaced


def _shares(whole: int, steps: int, up: bool = False) -> tuple[int, ...]:
    """`whole * k / steps` for k = 1..steps, rounded (up, or half up), each once, none below 1."""
    offset = steps - 1 if up else steps // 2
    return tuple(sorted({max(1, (whole * k + offset) // steps) for k in range(1, steps + 1)}))
