"""Which heads and feed-forward neurons a pruned student keeps of its teacher."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kdnas.errors import KdnasError
from kdnas.space import AnyArchitecture, Architecture, Family, PrunedArchitecture, family_of
from kdnas.space.derivation import check_regular, teacher_architecture
from kdnas.space.pruned import CONFIG_KEY

NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Kept:
    """The kept heads and neurons of each layer, by their numbers in the teacher, ascending."""

    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, heads: Iterable[Iterable[int]], neurons: Iterable[Iterable[int]]) -> Kept:
        """From any sequences of numbers."""
        both = ([tuple(sorted(map(int, each))) for each in part] for part in (heads, neurons))
        return cls(*map(tuple, both))

    @classmethod
    def first(cls, counts: PrunedArchitecture) -> Kept:
        """The first heads and neurons of each layer: what has such counts, whatever it learnt."""
        both = counts.num_attention_heads, counts.intermediate_size
        return cls.of(*([range(count) for count in part] for part in both))

    def architecture(self, teacher: Architecture) -> PrunedArchitecture:
        """How many they are."""
        return PrunedArchitecture.of(teacher, map(len, self.heads), map(len, self.neurons))

    def write(self, config: Any) -> None:
        """Notes them in a config, as runs of numbers: `0-3 5`."""
        parts = {"heads": self.heads, "neurons": self.neurons}
        setattr(config, CONFIG_KEY, {n: [runs(layer) for layer in p] for n, p in parts.items()})

    @classmethod
    def read(cls, config: Any) -> Kept | None:
        """What a config notes; None for a model that is not pruned.

        Raises:
            KdnasError: The note cannot be read, or does not fit the config.
        """
        noted = getattr(config, CONFIG_KEY, None)
        if noted is None:
            return None
        try:
            kept = cls.of(*([numbers(layer) for layer in noted[n]] for n in ("heads", "neurons")))
            problem = "" if kept.architecture(shape_of(config)).fits(shape_of(config)) else "counts"
        except (KeyError, TypeError, ValueError, KdnasError) as error:
            problem = str(error) or type(error).__name__
        if not problem and not kept.within(shape_of(config)):
            problem = "numbers"
        if problem:
            raise KdnasError(
                f"the config's {CONFIG_KEY} does not fit its model ({problem}); give the "
                "config.json that kdnas saved with the weights"
            )
        return kept

    def within(self, teacher: Architecture) -> bool:
        """Whether each number is one of the teacher's, once."""
        parts = (self.heads, teacher.num_attention_heads), (self.neurons, teacher.intermediate_size)
        return all(
            len(set(layer)) == len(layer) and max(layer, default=0) < size
            for part, size in parts
            for layer in part
        )


def shape_of(config: Any) -> Architecture:
    """The five fields of a model's config; those of its teacher, where it is pruned."""
    return teacher_architecture(config, family_of(config.model_type, config.model_type))


def architecture_of(config: Any) -> AnyArchitecture:
    """A model's architecture, pruned or not."""
    kept = Kept.read(config)
    return kept.architecture(shape_of(config)) if kept else shape_of(config)


def prunable_family(config: Any, name: str = "the model") -> Family:
    """The family of a model whose heads and neurons can be pruned layer by layer.

    Raises:
        KdnasError: It has a decoder, its layers share their weights, its heads share keys and
            values, or its layers are otherwise irregular.
    """
    family = family_of(config.model_type, name)
    if family.decoder is not None:
        raise KdnasError(
            f"cannot prune {name}: {config.model_type!r} has a decoder, and only encoders are "
            "pruned; give an encoder"
        )
    if family.layers is None:
        raise KdnasError(
            f"cannot prune {name}: the layers of {config.model_type!r} share their weights, so "
            "none can lose heads alone; give a teacher of another family"
        )
    check_regular(config, teacher_architecture(config, family), name)
    return family


def check_fits(counts: PrunedArchitecture, teacher: Architecture) -> None:
    """Refuses counts that a teacher has not.

    Raises:
        KdnasError: They are others' or too many.
    """
    if not counts.fits(teacher):
        raise KdnasError(
            f"{counts.label} does not fit the teacher, {teacher.label}: expected its layers, "
            "hidden size and activation, and in each layer at most its heads and neurons"
        )


def runs(values: Sequence[int]) -> str:
    """Ascending numbers as text, runs of them as their ends: 0, 1, 2, 5 give `0-2 5`."""
    ends: list[list[int]] = []
    for value in values:
        if ends and value == ends[-1][1] + 1:
            ends[-1][1] = value
        else:
            ends.append([value, value])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in ends)


def numbers(text: str) -> list[int]:
    """What `runs` wrote.

    Raises:
        ValueError: The text is something else.
    """
    found: list[int] = []
    for word in text.split():
        match = NUMBERS.fullmatch(word)
        if not match:
            raise ValueError(f"{word!r} is no run of numbers")
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, last + 1)
    return found
