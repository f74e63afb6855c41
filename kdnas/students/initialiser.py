"""How students start: from their teacher's weights, as far as those matter."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from kdnas.runtime.device import Runtime
from kdnas.space.architecture import Architecture
from kdnas.students.build import build_student
from kdnas.students.importance import Importance, measure_importance
from kdnas.students.state import StudentState
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.distillation_data import some_batches
from kdnas.teachers.load import Teacher


@dataclass(frozen=True)
class StudentInitialiser:
    """Makes untrained students of one teacher.

    Attributes:
        teacher: Gives its weights.
        inherit: Whether students take them; otherwise theirs are random.
        importance: Which parts of the teacher to keep; None judges by the weights alone.
        seed: Seed of random weights.
    """

    teacher: PreTrainedModel
    inherit: bool
    importance: Importance | None
    seed: int

    def student(self, architecture: Architecture) -> StudentState:
        """An untrained student."""
        model = build_student(
            self.teacher,
            architecture,
            inherit=self.inherit,
            importance=self.importance,
            seed=self.seed,
        )
        return StudentState(model)


def initialiser_of(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, *, inherit: bool, seed: int
) -> StudentInitialiser:
    """The initialiser of a teacher; what matters in it is measured on a few batches.

    Args:
        teacher: On the runtime's device.
        data: Examples.
        runtime: Device and precision.
        inherit: Whether students take the teacher's weights.
        seed: Seed of random weights and of the choice of batches.
    """
    importance = None
    if inherit:
        batches = some_batches(data, teacher.pad_id, runtime, seed)
        importance = measure_importance(teacher.model, batches, runtime)
    return StudentInitialiser(teacher.model, inherit, importance, seed)
