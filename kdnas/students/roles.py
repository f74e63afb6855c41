"""What the tensors of an encoder's layers hold: rows or columns of heads and of neurons."""

from __future__ import annotations

import re
from typing import Literal

from kdnas.space.families import UNITS, Family, is_at

Kind = Literal["query", "key", "value", "neurons"]
Role = tuple[tuple[Kind, ...], int]
LAYER = re.compile(r".*?\.(layers?|albert_layers)\.\d+")


def role_of(family: Family, name: str, rows: int, neurons: int) -> Role | None:
    """Which of a layer's own dimensions a tensor has, part after part, and on which axis.

    Args:
        family: Of the model.
        name: The tensor's, in the model's state dict.
        rows: Its length.
        neurons: The model's intermediate size.
    """
    module, _, kind = name.rpartition(".")
    kinds: tuple[Kind, ...] = family.units_of(module)
    if kinds:
        return kinds, 0
    for also, unit in family.heads_also.items():
        if is_at(module, also) or is_at(name, also):
            return (unit,), 0
    if is_at(module, family.heads_in):
        return (("value",), 1) if kind == "weight" else None
    if any(is_at(module, end) for end in family.neurons_in):
        parts: list[Kind] = ["neurons"] * (rows // neurons)
        return tuple(parts), 0
    if is_at(module, family.neurons_out):
        return (("neurons",), 1) if kind == "weight" else None
    return None


def is_by_head(family: Family, kinds: tuple[Kind, ...]) -> bool:
    """Whether one map makes all three of a head, head after head."""
    return family.by_head and len(kinds) == len(UNITS)


def layer_path(family: Family, name: str) -> tuple[str, int] | None:
    """The layer of a tensor or module: its path and its number, from 0; None outside of layers."""
    if family.layers is None:
        return None
    found = re.match(rf"((?:.*\.)?{re.escape(family.layers)}\.(\d+))(?:\.|$)", name)
    return (found[1], int(found[2])) if found else None
