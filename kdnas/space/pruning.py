"""What is asked of a pruned student: how its teacher is pruned, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdnas.config import Settings

# The fields as a trial's parameters. A speed-up that is asked for is not the one that is measured.
METHOD, SPARSITY, ASKED, AFTER = "pruning", "sparsity", "pruned_to_speedup", "pruned_after"
KEPT_LAYERS = "kept_layers"
NONE = "none"


@dataclass(frozen=True, order=True)
class Pruning:
    """How a student is pruned: to a sparsity, or to a speed-up.

    How many heads and neurons that leaves in each layer is found out from the teacher and, for a
    speed-up, the machine (`kdnas.students.pruning.PrunedStudents`).

    Attributes:
        method: What decides which go first; none prunes nothing.
        sparsity: The share that goes, in [0, 1), where no speed-up is asked.
        speedup: How many times as fast as its teacher a student shall be; 0 where a sparsity is
            asked.
        after: The speed-ups of the students that it is pruned from, one after the other; empty
            where it is pruned from the teacher.
        layers: How many of the teacher's layers stay, before heads and neurons go; 0 is all.
    """

    method: str = NONE
    sparsity: float = 0.0
    speedup: float = 0.0
    after: tuple[float, ...] = ()
    layers: int = 0

    def __bool__(self) -> bool:
        return self.method != NONE

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Pruning:
        """What a trial's parameters spell; those of a student that is not pruned have none."""
        method = params.get(METHOD, NONE)
        if method is None or method == NONE:
            return NOT_PRUNED
        after = str(params.get(AFTER) or "").split(",")
        return cls(
            str(method),
            float(params.get(SPARSITY) or 0),
            float(params.get(ASKED) or 0),
            tuple(float(part) for part in after if part),
            int(params.get(KEPT_LAYERS) or 0),
        )

    @property
    def params(self) -> dict[str, int | float | str]:
        """As a trial's parameters; empty where nothing is pruned."""
        if not self:
            return {}
        found: dict[str, int | float | str] = {METHOD: self.method}
        found |= {ASKED: self.speedup} if self.speedup else {SPARSITY: self.sparsity}
        if self.after:
            found[AFTER] = ",".join(f"{one:g}" for one in self.after)
        return found | ({KEPT_LAYERS: self.layers} if self.layers else {})

    @property
    def before(self) -> Pruning:
        """The student that it is pruned from; one that is not pruned where that is the teacher."""
        if not self.after:
            return NOT_PRUNED
        return replace(self, speedup=self.after[-1], after=self.after[:-1])

    @property
    def target(self) -> str:
        """How far, in words: `80%`, or `4x`, after 2x `2x,4x`."""
        if self.speedup:
            return ",".join(f"{step:g}x" for step in (*self.after, self.speedup))
        return f"{100 * self.sparsity:g}%"

    @property
    def label(self) -> str:
        """Short name, `ziplm 4x`, or with 4 of the teacher's layers `ziplm 4x of 4 layers`."""
        of = f" of {self.layers} layer{'s' * (self.layers > 1)}" if self.layers else ""
        return f"{self.method} {self.target}{of}"


NOT_PRUNED = Pruning()
# What a search tries where nobody says otherwise: the sparsities of MiniDisc (Zhang et al. 2022),
# and a lower one.
SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def gradually(method: str, speedups: Sequence[float], layers: int = 0) -> tuple[Pruning, ...]:
    """To several speed-ups, the lowest first, each from the student before it.

    As in ZipLM (Kurtic et al. 2023): a run gives a family of students.
    """
    return tuple(
        Pruning(method, speedup=speedup, after=tuple(speedups[:i]), layers=layers)
        for i, speedup in enumerate(speedups)
    )


def prunings_asked(settings: Settings, layers: int = 0) -> tuple[Pruning, ...]:
    """How the students of `kdnas distill --pruned` are pruned, the run's own last.

    `layers` of the teacher's stay; 0 is all.
    """
    assert settings.pruned is not None
    if settings.sparsity is not None:
        return (Pruning(settings.pruned, sparsity=settings.sparsity, layers=layers),)
    return gradually(settings.pruned, settings.speedups or (settings.speedup or 0.0,), layers)
