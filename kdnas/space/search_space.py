"""The finite set of students that a search may choose from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from transformers.activations import ACT2FN

from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.derivation import (
    Choices,
    check_regular,
    derive_choices,
    replace_choices,
    teacher_architecture,
)
from kdnas.space.families import FIELDS, Family, family_of


class SearchSpace:
    """Choices for each field of an architecture, and which combinations are valid.

    Attributes:
        teacher: The teacher's own architecture, the largest that is allowed.
        choices: Allowed values by field.
        barred: Hidden sizes that students cannot have.
    """

    def __init__(
        self, teacher: Architecture, choices: Choices, barred: frozenset[int] = frozenset()
    ) -> None:
        self.teacher = teacher
        self.choices = choices
        self.barred = barred

    @classmethod
    def from_teacher(
        cls, config: Any, name: str, replacements: dict[str, list[int | str]] | None = None
    ) -> SearchSpace:
        """The space derived from a teacher's config, narrowed or replaced by the user.

        Raises:
            KdnasError: The teacher is no encoder, or no valid student is left.
        """
        family: Family = family_of(config.model_type, name)
        teacher = teacher_architecture(config, family)
        check_regular(config, teacher, name)
        choices = replace_choices(derive_choices(teacher), replacements or {})
        own = getattr(config, "embedding_size", teacher.hidden_size)
        dropped = family.drops_equal_map and own != teacher.hidden_size
        space = cls(teacher, choices, frozenset({own} if dropped else ()))
        space.check()
        return space

    def check(self) -> None:
        """Refuses choices that no student can have.

        Raises:
            KdnasError: A value exceeds the teacher's, an activation is unknown, or no combination
                is valid.
        """
        for name in FIELDS[:-1]:
            limit = getattr(self.teacher, name)
            wrong = [v for v in self.choices[name] if not 0 < int(v) <= limit]
            if wrong:
                raise KdnasError(f"space.{name} holds {wrong[0]}; the teacher allows 1 to {limit}")
        for act in self.choices["hidden_act"]:
            if act not in ACT2FN:
                raise KdnasError(f"space.hidden_act holds {act!r}, unknown to transformers")
        if not self.architectures:
            raise KdnasError(f"no valid student: {self._why_none()}")

    def _why_none(self) -> str:
        heads, sizes = self.choices["num_attention_heads"], self.choices["hidden_size"]
        left = tuple(size for size in sizes if size not in self.barred)
        said = [
            f"hidden_size {size} is that of the embeddings, which such a model would read without "
            "the map whose weights the teacher has; another would be right"
            for size in sizes
            if size in self.barred
        ]
        if left:
            said.append(f"none of num_attention_heads {heads} divides any of hidden_size {left}")
        return "; ".join(said)

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """Every valid student, smallest choices first."""
        combinations = itertools.product(*(self.choices[name] for name in FIELDS))
        candidates = (Architecture(*values) for values in combinations)  # type: ignore[arg-type]
        fitting = (a for a in candidates if a.fits(self.teacher))
        return tuple(a for a in fitting if a.hidden_size not in self.barred)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions."""
        return {name: CategoricalDistribution(self.choices[name]) for name in FIELDS}

    def is_valid(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial's params spell a valid student of this space."""
        return Architecture.from_params(params) in self._set

    @cached_property
    def _set(self) -> frozenset[Architecture]:
        return frozenset(self.architectures)

    @property
    def smallest(self) -> Architecture:
        """The valid student with the least arithmetic."""
        return min(self.architectures, key=_size)

    @property
    def largest(self) -> Architecture:
        """The valid student with the most arithmetic."""
        return max(self.architectures, key=_size)


def _size(a: Architecture) -> tuple[int, ...]:
    layer = 4 * a.hidden_size**2 + 2 * a.hidden_size * a.intermediate_size
    return (a.num_hidden_layers * layer, a.hidden_size, a.num_attention_heads)
