"""Untrained students: a model from an architecture and its teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeGuard

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from kdnas.files.artifact import Artifact
from kdnas.runtime.device import Runtime
from kdnas.space import (
    AnyArchitecture,
    Architecture,
    Candidate,
    PrunedArchitecture,
    family_of,
)
from kdnas.students.configs import student_config
from kdnas.students.factorised import embedding_moments
from kdnas.students.importance import Importance, measure_importance
from kdnas.students.inherit import inherit_weights, takes
from kdnas.students.pruning import (
    Kept,
    PrunedStudents,
    magnitude_scores,
    shallower,
    shape_of,
    slice_in_place,
    sliced,
)
from kdnas.students.state import StudentState
from kdnas.students.static import (
    NO_ENDS,
    Ends,
    empty_static,
    take_token_vectors,
    token_vectors,
)
from kdnas.tasks import TaskType, task_type_of
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.distillation_data import some_batches
from kdnas.teachers.load import Teacher

# A tokenizer shows its special tokens around it: of characters that nearly all have one of.
SOME_TEXT = "A a 1 ."


def empty_student(
    teacher_config: Any, architecture: AnyArchitecture, task: TaskType | None = None
) -> PreTrainedModel:
    """A student with random weights, drawn from torch's global generator, and a head for a task."""
    task = task or task_type_of(teacher_config)
    if is_static(architecture):
        return empty_static(teacher_config, architecture, task)
    family = family_of(teacher_config.model_type, teacher_config.model_type)
    if isinstance(architecture, PrunedArchitecture):
        shape = shape_of(teacher_config)
        depth = min(architecture.num_hidden_layers, shape.num_hidden_layers)
        shape = replace(shape, num_hidden_layers=depth)
        whole = empty_student(teacher_config, shape, task)
        return slice_in_place(whole, Kept.first(architecture))
    config = student_config(teacher_config, family, architecture)
    student: PreTrainedModel = task.auto_class.from_config(config, dtype=torch.float32)
    return student


def writing_as(student: PreTrainedModel, teacher: PreTrainedModel) -> PreTrainedModel:
    """The student, which now writes with the teacher's settings of generation, if it writes."""
    if student.can_generate():
        student.generation_config = copy.deepcopy(teacher.generation_config)
    return student


def build_student(
    teacher: PreTrainedModel,
    architecture: AnyArchitecture,
    *,
    inherit: bool = True,
    importance: Importance | None = None,
    seed: int = 0,
    vectors: Callable[[], Tensor] | None = None,
    moments: Callable[[], Tensor] | None = None,
) -> PreTrainedModel:
    """A student, its weights taken from the teacher, as far as they fit, or drawn from a seed.

    `importance` says which parts of the teacher to keep first; the teacher is not changed. Of a
    pruned student it keeps the heads and neurons around which weights are largest; other ways to
    choose them are in `kdnas.students.pruning`. `vectors` makes the token vectors of a static one;
    `moments` gives those of the teacher's embeddings for one whose own are factorised.
    """
    if inherit and isinstance(architecture, PrunedArchitecture):
        whole = shallower(teacher, architecture.num_hidden_layers)
        return sliced(whole, magnitude_scores(whole).kept(architecture)).eval()
    takes_weights = inherit and not is_static(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw = _with_drawn_head if takes_weights else _drawn_student
        student = draw(teacher, architecture)
    if takes_weights:
        inherit_weights(student, teacher, importance, moments)
    elif inherit:
        take_token_vectors(student, vectors() if vectors else token_vectors(teacher))
    return student.eval()


def is_static(architecture: AnyArchitecture) -> TypeGuard[Architecture]:
    """Whether a student has no layers at all; a pruned one may have some that do nothing."""
    return isinstance(architecture, Architecture) and architecture.is_static


def _drawn_student(teacher: PreTrainedModel, architecture: AnyArchitecture) -> PreTrainedModel:
    """A student with random weights, of the teacher's class."""
    if isinstance(architecture, PrunedArchitecture) or architecture.is_static:
        task = task_type_of(teacher.config, type(teacher).__name__)
        return empty_student(teacher.config, architecture, task)
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    config = student_config(teacher.config, family, architecture)
    student: PreTrainedModel = type(teacher)._from_config(config, dtype=torch.float32)
    return writing_as(student, teacher)


def _with_drawn_head(teacher: PreTrainedModel, architecture: AnyArchitecture) -> PreTrainedModel:
    """The same, but for what it takes of its teacher: drawing all took a third of the time."""
    with no_init_weights():
        student = _drawn_student(teacher, architecture)
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    for name, parameter in student.named_parameters():
        parameter._is_hf_initialized = takes(student, family, name)
    student.init_weights()
    return student


@dataclass(frozen=True)
class StudentInitialiser:
    """Makes untrained students of one teacher; attributes as the arguments of `build_student`.

    `pruned` makes the pruned ones, where a run has any; `ends` tells the special tokens ahead of
    a text and behind it.
    """

    teacher: PreTrainedModel
    inherit: bool
    importance: Importance | None
    seed: int
    pruned: PrunedStudents | None = None
    ends: Callable[[], Ends] = lambda: NO_ENDS

    @cached_property
    def vectors(self) -> Tensor:
        """What the teacher makes of each token alone, shape (tokens, hidden size)."""
        return token_vectors(self.teacher, self.ends())

    @cached_property
    def moments(self) -> Tensor:
        """Those of the teacher's embeddings: some seconds where it has many tokens."""
        return embedding_moments(self.teacher)

    def student(self, candidate: Candidate) -> StudentState:
        """An untrained student."""
        if candidate.pruning:
            assert self.pruned is not None, "prepared where a run has pruned students"
            return StudentState(self.pruned.student(candidate.pruning))
        model = build_student(
            self.teacher,
            candidate.architecture,
            inherit=self.inherit,
            importance=self.importance,
            seed=self.seed,
            vectors=lambda: self.vectors,
            moments=lambda: self.moments,
        )
        return StudentState(model)


def initialiser_of(
    teacher: Teacher,
    data: EncodedExamples,
    runtime: Runtime,
    *,
    inherit: bool,
    seed: int,
    cached: Artifact[Importance] | None = None,
    pruned: PrunedStudents | None = None,
) -> StudentInitialiser:
    """The initialiser of a teacher; what matters in it is measured on a few batches of the data.

    The seed is that of random weights and of the choice of batches; `cached` may keep what was
    measured.
    """

    def measure() -> Importance:
        batches = some_batches(data, teacher.pad_id, runtime, seed)
        return measure_importance(teacher.model, batches, runtime)

    importance = None
    if inherit:
        importance = cached.get(measure) if cached else measure()
    model = teacher.model
    if inherit and runtime.device.type != "cpu":  # students are made there, each from a copy
        model = copy.deepcopy(model).cpu()
    ends = partial(_ends_of, teacher.tokenizer)
    return StudentInitialiser(model, inherit, importance, seed, pruned, ends)


def _ends_of(tokenizer: Any) -> Ends:
    """The special tokens ahead of a text and behind it.

    An empty text does not tell on which side a single one stands.
    """
    bare, whole = (
        list(map(int, tokenizer(SOME_TEXT, add_special_tokens=special, verbose=False)["input_ids"]))
        for special in (False, True)
    )
    ahead = next(i for i in range(len(whole) + 1) if whole[i : i + len(bare)] == bare)
    return tuple(whole[:ahead]), tuple(whole[ahead + len(bare) :])
