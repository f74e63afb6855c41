"""What the tensors of a model's layers hold: rows or columns of heads and of neurons."""

from __future__ import annotations

import re
from typing import Literal

from kdnas.space.families import UNITS, Family, is_at

Kind = Literal["query", "key", "value", "neurons"]
Role = tuple[tuple[Kind, ...], int]
LAYER = re.compile(r".*?\.(layers?|albert_layers)\.\d+")
# Behind a layer's path: its attention to the encoder's states.
CROSS = "/cross"


def role_of(family: Family, name: str, rows: int, neurons: int) -> Role | None:
    """Which of a layer's own dimensions a tensor has, part after part, and on which axis.

    Args:
        family: Of the model.
        name: The tensor's, in the model's state dict.
        rows: Its length.
        neurons: The intermediate size of its stack.
    """
    module, _, kind = name.rpartition(".")
    stack = family.stack_of(module)
    if at := family.attention_at(module):
        kinds: tuple[Kind, ...] = at[1].units_of(module)
        if kinds:
            return kinds, 0
        return (("value",), 1) if kind == "weight" else None
    for also, unit in stack.heads_also.items():
        if is_at(module, also) or is_at(name, also):
            return (unit,), 0
    if any(is_at(module, end) for end in stack.neurons_in):
        parts: list[Kind] = ["neurons"] * (rows // neurons)
        return tuple(parts), 0
    if is_at(module, stack.neurons_out):
        return (("neurons",), 1) if kind == "weight" else None
    return None


def is_by_head(family: Family, kinds: tuple[Kind, ...]) -> bool:
    """Whether one map makes all three of a head, head after head."""
    return family.by_head and len(kinds) == len(UNITS)


def layer_at(of: Family, path: str) -> str | None:
    """The path of the layer that a module or weight belongs to; None outside of layers."""
    if of.decoder:
        found = of.layer_of(path)
        return found[0] if found else None
    layer = LAYER.match(path)
    return layer[0] if layer else None
