"""What the options of a run with a black-box teacher must be: a file has the teacher's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kdnas.config.groups import default_of
from kdnas.config.recipe import Stage
from kdnas.config.shape import LAYERS, read_shape

# The options that make a run one of this kind, and those that belong to it.
FILE, OWN = "teacher_predictions", ("student_base", "labels_stand_in")
# Defaults that differ: hidden states are not known.
DEFAULTS: Mapping[str, Any] = {"mini_losses": {"logits": 1.0}, "mini_score": "logits"}
# Options that make no sense then, with why.
_TRAINED = "there is no teacher to load or train"
_SEEN = "the teacher cannot be asked about texts that are not in the file"
REFUSED: Mapping[str, str] = {
    "teacher": "the file takes the teacher's place (--student-base names what students start from)",
    **dict.fromkeys(("teacher_as_is", "fine_tune", "label_map", "fresh_head"), _TRAINED),
    "hidden_weight": "the teacher's hidden states are not known",
    **dict.fromkeys(("mask_probability", "transfer_methods", "transfer_tasks"), _SEEN),
    "transfer_rows": "the transfer set has all rows of the file",
}


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """The values of options, and the defaults that a black-box teacher or a static student brings.

    A static student has no layers whose states could be compared.
    """
    outputs_alone = values.get(FILE) is not None or is_static_shape(values.get("architecture"))
    return {**DEFAULTS, **values} if outputs_alone else values


def is_static_shape(shape: Any) -> bool:
    """Whether a student's shape, as a user gave it, has no layers."""
    with suppress(ValueError):  # refused where it is read
        return shape is not None and read_shape(shape).get(LAYERS) == 0
    return False


def problem_of_black_box(values: Mapping[str, Any], stages: tuple[Stage, ...]) -> str | None:
    """What contradicts a black-box teacher, or needs one, in words.

    Args:
        values: Of all options.
        stages: Of full KD.
    """
    if values[FILE] is None:
        for name in OWN:
            if values[name] != default_of(name):
                other = ", or name the model with --teacher" if name == "student_base" else ""
                return f"{_flag(name)} belongs to --teacher-predictions; give both{other}"
        return None
    for name, why in REFUSED.items():
        if values[name] != default_of(name):
            return f"{_flag(name)} and --teacher-predictions contradict each other: {why}"
    for stage in stages:
        if stage.data == "corpus" and not stage.is_general:
            return (
                f"stage {stage.name!r} learns from a black-box teacher on a corpus, but {_SEEN}; "
                "give it teacher: general, or data: transfer"
            )
    if values["corpus"] and not any(stage.is_general for stage in stages):
        return (
            "--corpus is for general stages in a run with --teacher-predictions; add the texts to "
            "the file, with what the teacher says of them"
        )
    return None


def problem_of_a_recipe(values: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
    """What of a recipe contradicts a black-box teacher, in words.

    Args:
        values: Of the run's options, at least those that were given.
        recipe: What the recipe sets beside its stages.
    """
    for name in REFUSED if values.get(FILE) is not None else ():
        if recipe.get(name, default_of(name)) != default_of(name):
            return f"sets {name}, but {REFUSED[name]}"
    return None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
