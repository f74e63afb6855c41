"""Which teacher layers a student layer learns from. Layers count from 1; 0 is the embeddings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kdnas.config.layer_mapping import MapName, Targets, mapping_in_words


def last_layers(student_layers: int, teacher_layers: int) -> list[int]:
    """Teacher layers `Lt - Ls + i` for student layers i = 1..Ls: the teacher's last ones.

    Raises:
        ValueError: The student is deeper than the teacher, or has no layer.
    """
    return [teacher_layers - student_layers + i for i in _layers(student_layers, teacher_layers)]


def skip_layers(student_layers: int, teacher_layers: int) -> list[int]:
    """Likewise `i * floor(Lt / Ls)`: every n-th one.

    Sun et al. 2019, Patient Knowledge Distillation for BERT Model Compression.
    """
    layers = _layers(student_layers, teacher_layers)
    return [i * (teacher_layers // student_layers) for i in layers]


def even_layers(student_layers: int, teacher_layers: int) -> list[int]:
    """Likewise `floor(i * Lt / Ls)`: evenly spread."""
    layers = _layers(student_layers, teacher_layers)
    return [i * teacher_layers // student_layers for i in layers]


def _layers(student_layers: int, teacher_layers: int) -> range:
    if not 0 < student_layers <= teacher_layers:
        raise ValueError(
            f"a student of {student_layers} layers for {teacher_layers} teacher layers"
        )
    return range(1, student_layers + 1)


MAPS = {
    "skip+last": (skip_layers, last_layers),
    "skip": (skip_layers,),
    "last": (last_layers,),
    "evenly": (even_layers,),
}


@dataclass(frozen=True)
class LayerMap:
    """For student layers from the `first` on, the teacher layers whose states each must predict.

    Attributes:
        learned: Whether how much each of them counts is learnt.
    """

    targets: Targets
    first: int = 1
    learned: bool = False

    @classmethod
    def of(
        cls, mapping: MapName | dict[int, Targets], student_layers: int, teacher_layers: int
    ) -> LayerMap:
        """One of `MAPS`, where two stand side by side; all layers, `learned`; or those given."""
        if not isinstance(mapping, str):
            return cls(mapping[student_layers])
        if mapping == "learned":
            every = tuple(range(1, teacher_layers + 1))
            return cls((every,) * student_layers, learned=True)
        chosen = [layers(student_layers, teacher_layers) for layers in MAPS[mapping]]
        return cls(tuple(zip(*chosen, strict=True)))

    @property
    def rows(self) -> list[list[int]]:
        """The targets as a table, filled up with -1."""
        width = max(map(len, self.targets))
        return [[*target, *[-1] * (width - len(target))] for target in self.targets]

    @property
    def student_layers(self) -> tuple[int, ...]:
        """The student layers that learn."""
        return tuple(range(self.first, self.first + len(self.targets)))

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """Every teacher layer that is needed, ascending."""
        return tuple(sorted({layer for target in self.targets for layer in target}))

    @property
    def without_last(self) -> LayerMap:
        """Without its last student layer, unless that is the only one."""
        return LayerMap(self.targets[:-1] or self.targets, self.first, self.learned)

    def __str__(self) -> str:
        pairs = zip(self.student_layers, self.targets, strict=True)
        return ", ".join(f"{layer} <- {'+'.join(map(str, target))}" for layer, target in pairs)


def mapping_problem(
    mapping: MapName | dict[int, Targets], teacher_layers: int, depths: Collection[int]
) -> str | None:
    """Why given layers do not fit a teacher or some depth of its students; None where they do."""
    if isinstance(mapping, str):
        return None
    given = f"invalid mapping {mapping_in_words(mapping)}"
    layers = [layer for targets in mapping.values() for target in targets for layer in target]
    if max(layers) > teacher_layers:
        return f"{given}: the teacher has {teacher_layers} layers and no layer {max(layers)}"
    missing = sorted(set(depths) - set(mapping))
    if not missing:
        return None
    listed = ", ".join(map(str, sorted(set(mapping) & set(depths) or mapping)))
    return (
        f"{given}: it has no entry for students of {missing[0]} layers; add {missing[0]}: [...], "
        f"or give space: {{num_hidden_layers: [{listed}]}}"
    )


def fixed_mapping_problem(
    mapping: MapName | dict[int, Targets], teacher_layers: int, depths: Collection[int]
) -> str | None:
    """The same for a loss that learns no map."""
    if mapping == "learned":
        return (
            "invalid mapping learned: among the losses only hidden learns one; give the stage "
            "mapping: skip, last, evenly or a list"
        )
    return mapping_problem(mapping, teacher_layers, depths)
