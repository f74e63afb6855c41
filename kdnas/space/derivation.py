"""Derives the choices of the search from a teacher's config."""

from __future__ import annotations

from typing import Any

from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.families import FIELDS, Family

DEPTH_STEPS = 6
WIDTH_STEPS = 8
NEURON_STEPS = 4
FEWEST_HEADS = 4
# Stands for the teacher's own value among choices.
TEACHERS = "teacher"
# Fields of configs that give the size of a head beside their number.
HEAD_SIZES = (
    "attention_head_size",
    "head_dim",
)  # Fields that make other layers of what is otherwise a supported family.
OTHER_LAYERS = ("rotary_value", "talking_head")

Choices = dict[str, tuple[int | str, ...]]


def teacher_architecture(config: Any, family: Family) -> Architecture:
    """The five fields of a teacher's config."""
    return Architecture(**{name: getattr(config, family.field_name(name)) for name in FIELDS})


def check_regular(config: Any, teacher: Architecture, name: str) -> None:
    """Refuses encoders whose layers the five fields do not describe.

    Raises:
        KdnasError: A layer groups several inner layers, heads have a size of their own or share
            keys and values, or values are rotated or heads mixed.
    """
    inner = getattr(config, "inner_group_num", 1)
    if inner != 1:
        raise KdnasError(
            f"unsupported teacher {name!r}: inner_group_num is {inner}; kdnas supports 1"
        )
    for field in HEAD_SIZES:
        size = vars(config).get(field)
        if size and size * teacher.num_attention_heads != teacher.hidden_size:
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


def derive_choices(teacher: Architecture, multiple: int = 1) -> Choices:
    """Choices by field; every combination is a valid student.

    - `num_hidden_layers`: sixths of the teacher's depth, rounded up.
    - `num_attention_heads`: the divisors of the teacher's head count, from a quarter of it up.
    - `hidden_size`: the teacher's head count times eighths of its head size. Every choice is a
      multiple of the teacher's head count, so each of its divisors divides it too. Heads are as
      wide as a multiple of `multiple`.
    - `intermediate_size`: quarters of the teacher's.
    - `hidden_act`: the teacher's own, and `relu`, the cheapest.
    """
    heads, depth = teacher.num_attention_heads, teacher.num_hidden_layers
    sizes = _shares(teacher.hidden_size // heads // multiple, WIDTH_STEPS)
    return {
        "num_hidden_layers": _shares(depth, DEPTH_STEPS, up=True),
        "num_attention_heads": tuple(
            n for n in range(1, heads + 1) if heads % n == 0 and n * FEWEST_HEADS >= heads
        ),
        "hidden_size": tuple(heads * multiple * size for size in sizes),
        "intermediate_size": _shares(teacher.intermediate_size, NEURON_STEPS),
        "hidden_act": tuple(dict.fromkeys((teacher.hidden_act, "relu"))),
    }


def replace_choices(
    choices: Choices, replacements: dict[str, list[int | str]], teacher: Architecture
) -> Choices:
    """Replaces derived choices by the user's, in which the word `teacher` is the teacher's own.

    Raises:
        KdnasError: A field is unknown, its list is empty, or a value has the wrong type.
    """
    replaced = dict(choices)
    for name, values in replacements.items():
        if name not in FIELDS:
            raise KdnasError(f"unknown field in space: {name!r}; known: {', '.join(FIELDS)}")
        kind = str if name == "hidden_act" else int
        own = [getattr(teacher, name) if value == TEACHERS else value for value in values]
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
