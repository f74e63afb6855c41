"""Which teacher layers a student layer learns from. Layers count from 1; 0 is the embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from kdnas.config.choices import LayerMapping


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
    """For student layers from the `first` on, the teacher layers whose states each must predict."""

    targets: tuple[tuple[int, ...], ...]
    first: int = 1

    @classmethod
    def named(cls, name: LayerMapping, student_layers: int, teacher_layers: int) -> LayerMap:
        """One of `MAPS`; where it has two, their layers stand side by side."""
        chosen = [layers(student_layers, teacher_layers) for layers in MAPS[name]]
        return cls(tuple(zip(*chosen, strict=True)))

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
        return LayerMap(self.targets[:-1] or self.targets, self.first)

    def __str__(self) -> str:
        pairs = zip(self.student_layers, self.targets, strict=True)
        return ", ".join(f"{layer} <- {'+'.join(map(str, target))}" for layer, target in pairs)
