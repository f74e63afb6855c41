"""Where the kept heads and neurons are in the tensors of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from kdnas.space import Architecture
from kdnas.space.families import UNITS
from kdnas.students.pruning.kept import Kept, prunable_family, shape_of
from kdnas.students.roles import Kind, is_by_head, role_of

Place = tuple[int, Tensor]


class Places:
    """Which rows or columns of a model's tensors belong to what a student keeps.

    Args:
        config: The dense model's.
        kept: What the student keeps.

    Raises:
        KdnasError: The model cannot be pruned.
    """

    def __init__(self, config: Any, kept: Kept) -> None:
        self.family, self.kept = prunable_family(config), kept
        self.teacher: Architecture = shape_of(config)
        self.head_size = self.teacher.head_size
        self._rows = cache(self._rows_of_layer)

    def of(self, name: str, rows: int) -> Place | None:
        """Axis and indices of what is kept of a dense tensor, by its name and length.

        None where the tensor has nothing of heads or neurons.
        """
        layer = self.family.layer_of(name)
        role = role_of(self.family, name, rows, self.teacher.intermediate_size) if layer else None
        if layer is None or role is None:
            return None
        return role[1], self._rows(layer[1], role[0])

    def of_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Place]:
        """The places of all tensors of a dense state dict that have one."""
        found = ((name, self.of(name, len(v)) if v.ndim else None) for name, v in tensors.items())
        return {name: place for name, place in found if place is not None}

    def _rows_of_layer(self, layer: int, kinds: tuple[Kind, ...]) -> Tensor:
        if kinds[0] == "neurons":
            size = self.teacher.intermediate_size
            return _parts(self.kept.neurons[layer], 1, size, len(kinds))
        heads, width = self.kept.heads[layer], self.teacher.heads_width
        if is_by_head(self.family, kinds):
            return _parts(heads, self.head_size * len(UNITS), width, 1)
        return _parts(heads, self.head_size, width, len(kinds))


def _parts(units: Iterable[int], size: int, part: int, count: int) -> Tensor:
    """Rows of units of `size` rows each, in `count` parts of `part` rows."""
    starts = torch.tensor(list(units), dtype=torch.long)[:, None] * size
    rows = (starts + torch.arange(size)).flatten()
    return (torch.arange(count)[:, None] * part + rows).flatten()
