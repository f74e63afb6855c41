"""A teacher with fewer layers, of which pruned students are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.layer_map import even_layers
from kdnas.space import Family, family_of
from kdnas.space.pruned import LAYERS_KEY
from kdnas.students.configs import student_config
from kdnas.students.inherit import SHARED_BIAS
from kdnas.students.pruning.kept import shape_of


def layers_that_stay(depth: int, whole: int, family: Family) -> list[int]:
    """So many of a teacher's layers, counted from 1, the last among them.

    The lowest ones, and of those above every second: Sajjad et al. 2023, On the effect of dropping
    layers of pre-trained transformer models, who drop alternate layers from the top. Of fewer than
    half, and where layers differ in kind, evenly spread ones.

    Golden: 4 of 6 are 1, 2, 4, 6; 8 of 12 are 1, 2, 3, 4, 6, 8, 10, 12; 2 of 6 are 3, 6.
    """
    if 2 * depth < whole or family.per_layer:
        return even_layers(depth, whole)
    lowest = 2 * depth - whole
    return [*range(1, lowest + 1), *range(lowest + 2, whole + 1, 2)]


def shallower(teacher: PreTrainedModel, depth: int) -> PreTrainedModel:
    """A copy of a teacher with some of its layers, as `layers_that_stay` says.

    With all of them it is the teacher itself.

    Args:
        teacher: An encoder whose layers have weights of their own.
        depth: From 1 to the teacher's own layers.

    Raises:
        ValueError: The depth is out of range.
    """
    whole = shape_of(teacher.config)
    if depth == whole.num_hidden_layers:
        return teacher
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    layers = layers_that_stay(depth, whole.num_hidden_layers, family)
    config: Any = student_config(teacher.config, family, replace(whole, num_hidden_layers=depth))
    with torch.random.fork_rng(devices=[]):
        student = type(teacher)(config)
    student.to(teacher.device, teacher.dtype)  # type: ignore[call-overload]
    weights: dict[str, Tensor] = teacher.state_dict()

    def part(name: str) -> Tensor:
        place = family.layer_of(name)
        if place is None or name.endswith(SHARED_BIAS):
            return weights[name]
        path, number = place
        theirs = f"{path.removesuffix(str(number))}{layers[number] - 1}"
        value = weights[f"{theirs}{name.removeprefix(path)}"]
        # The first layer may lack a norm: what reads it takes the gain of the layer that is first.
        lost = f"{theirs}.{family.first_without}.weight"
        module, _, kind = name.rpartition(".")
        reads = number == 0 and kind == "weight" and family.units_of(module)
        return value * weights[lost] if reads and lost in weights else value

    student.load_state_dict({name: part(name) for name in student.state_dict()})
    setattr(student.config, LAYERS_KEY, whole.num_hidden_layers)
    return student.train(teacher.training)
