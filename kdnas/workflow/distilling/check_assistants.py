"""Which assistants can teach a student: refused before any training where they cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from kdnas.config import Settings, settings_of
from kdnas.config.assistants import AUTO, as_given, is_checkpoint, problem_of_assistants
from kdnas.config.choices import STATIC
from kdnas.distillation.losses import Shapes
from kdnas.errors import KdnasError
from kdnas.files.checkpoints import check_checkpoint
from kdnas.measure import count_params
from kdnas.recipes.check import check_recipe
from kdnas.recipes.stages import problem_of_shapes, reads_teacher
from kdnas.runs.context import Context
from kdnas.space import AnyArchitecture, Architecture, Candidate, PrunedArchitecture, family_of
from kdnas.space.candidate import TEACHERS_VOCABULARY, shape_of_assistant
from kdnas.space.derivation import teacher_architecture
from kdnas.students import empty_student
from kdnas.students.checkpoint import load_student
from kdnas.teachers.load import load_config, load_tokenizer
from kdnas.teachers.trained_head import has_head, head_of_another_task
from kdnas.workflow.distilling.assistants import Assistant, assistants_of, copied_artifact
from kdnas.workflow.distilling.find_assistant import sparsities_between
from kdnas.workflow.preparing.inputs import Inputs

ShapeOf = Callable[[Candidate], AnyArchitecture]


def check_assistants(context: Context, inputs: Inputs, candidate: Candidate) -> None:
    """Refuses assistants that cannot teach a candidate.

    Raises:
        KdnasError: There is none, it is of another task or vocabulary, is smaller than what it
            teaches, or lacks what the recipe reads of it; or the recipe reads nothing of it, or is
            for other students.
    """
    if not candidate.assistants:
        return
    settings = settings_of(context.settings, candidate.recipe)
    pruned, asked = bool(candidate.pruning), candidate.pruning
    share = asked.sparsity if pruned and not asked.speedup else None
    if problem := problem_of_assistants(candidate.assistants, share, pruned=pruned):
        raise KdnasError(problem)
    if AUTO in candidate.assistants and not asked.speedup:
        sparsities_between(inputs.space.teacher, asked)
    wrong = f"invalid --assistants {as_given(candidate.assistants)}"
    for stage in (stage for stage in settings.full_stages if stage.is_general):
        raise KdnasError(
            f"{wrong}: stage {stage.name!r} of the recipe learns from a general teacher, and "
            "students with assistants begin with the task's own; give a recipe without general "
            "stages, such as logits"
        )
    shapes = Shapes(inputs.space.teacher, _shape_of_student(inputs, candidate))
    if not any(reads_teacher(stage, shapes, settings) for stage in settings.full_stages):
        raise KdnasError(
            f"{wrong}: no stage of the recipe compares the student with its teacher, and labels "
            "and pseudo-labels are the same whoever teaches; give a recipe that does, such as "
            "logits"
        )
    made = assistants_of(context, candidate)
    _check_first(inputs, made[0], wrong)
    _check_shapes(settings, inputs, made, wrong)
    _check_comparable(settings, inputs, made, candidate, wrong)
    check_larger(context, inputs, candidate)


def _check_first(inputs: Inputs, first: Assistant, wrong: str) -> None:
    """Refuses a student that exists already, and reads other tokens or answers other questions."""
    if first.source:
        _check_checkpoint(inputs, first, wrong)
    elif first.candidate and first.candidate.vocabulary != TEACHERS_VOCABULARY:
        raise KdnasError(
            f"{wrong}: {first.word} reads the vocabulary {first.candidate.vocabulary}; give one "
            "that reads the teacher's"
        )


def _check_shapes(
    settings: Settings, inputs: Inputs, made: Sequence[Assistant], wrong: str
) -> None:
    """Refuses assistants of given shapes that the recipe cannot train."""
    shapes = {i: shape for i, one in enumerate(made) if (shape := shape_of_assistant(one.word))}
    if shapes and settings.students == STATIC:
        raise KdnasError(
            f"{wrong}: recipe {settings.recipe!r} is for students without layers; give --recipe "
            "logits, or the folder of a checkpoint"
        )
    try:
        check_recipe(settings, students=shapes.values())
    except KdnasError as error:
        raise KdnasError(f"{wrong}: {error}") from None
    # A short training is by the run's teacher, whoever teaches after it.
    short = settings.short_stages if settings.follows_mini_kd else ()
    for i, shape in shapes.items():
        for stage in short if i else (*short, *settings.full_stages):
            if problem := problem_of_shapes(stage, Shapes(inputs.space.teacher, shape), settings):
                name = made[i].name
                raise KdnasError(f"{wrong}: stage {stage.name!r} cannot train {name}: {problem}")


def _check_comparable(
    settings: Settings,
    inputs: Inputs,
    made: Sequence[Assistant],
    candidate: Candidate,
    wrong: str,
) -> None:
    """Refuses assistants that a stage cannot compare with what they teach."""
    for one, taught in zip(made, _taught(made, candidate), strict=True):
        if one.word == AUTO:  # it is of the teacher's shape
            continue
        shapes = Shapes(_shape(inputs, one), _shape_of_student(inputs, taught))
        for stage in settings.full_stages:
            if problem := problem_of_shapes(stage, shapes, settings):
                raise KdnasError(
                    f"{wrong}: stage {stage.name!r} cannot learn from {one.name}: {problem}; give "
                    "one with more layers, or --recipe logits, which compares predictions alone"
                )


def _taught(made: Sequence[Assistant], candidate: Candidate) -> list[Candidate]:
    """What each of some assistants teaches: the next one, and the last the candidate."""
    return [*(one.candidate for one in made[1:] if one.candidate), candidate]


def check_larger(
    context: Context, inputs: Inputs, candidate: Candidate, shape_of: ShapeOf | None = None
) -> None:
    """Refuses an assistant that is smaller than the student it teaches.

    Sparsities that follow each other are in order already. What a speed-up leaves of a teacher is
    known once `shape_of` tells it; embeddings do not count.

    Raises:
        KdnasError: It is so.
    """
    made = assistants_of(context, candidate)
    for one, student in zip(made, _taught(made, candidate), strict=True):
        known = shape_of or not student.pruning.speedup
        ordered = one.is_pruned and student.pruning.sparsity
        if known and not ordered and one.word != AUTO:
            _refuse_smaller(inputs, one, student, shape_of)


def _refuse_smaller(
    inputs: Inputs, one: Assistant, student: Candidate, shape_of: ShapeOf | None
) -> None:
    if one.candidate:
        own = _weights(inputs, one.candidate, shape_of)
    else:
        own = count_params(load_student(_place(one)), embeddings=False)
    needed = _weights(inputs, student, shape_of)
    if own < needed:
        raise KdnasError(
            f"invalid --assistants {one.name}: it has {own:,} parameters without embeddings, what "
            f"it teaches ({student.label}) {needed:,}; give one that is larger"
        )


def _check_checkpoint(inputs: Inputs, one: Assistant, wrong: str) -> None:
    """Refuses the folder of a checkpoint that no student of the run can learn from."""
    place, spec = _place(one), inputs.data.spec
    try:
        check_checkpoint(str(place))
        config = load_config(str(place))
        vocabulary = load_tokenizer(str(place)).get_vocab()
    except KdnasError as error:
        raise KdnasError(f"{wrong}: {error}") from None
    outputs = head_of_another_task(config, spec)
    if outputs or not has_head(config, spec):
        other = f"its head predicts {outputs}" if outputs else f"it has no head for {spec.name}"
        raise KdnasError(f"{wrong}: {other}; give a student that was trained for {spec.name}")
    if vocabulary != inputs.data.tokenizer.get_vocab():
        raise KdnasError(
            f"{wrong}: it has another vocabulary than the teacher; give a student that reads the "
            "teacher's"
        )


def _place(one: Assistant) -> Path:
    """The checkpoint of one that is copied: the copy, where it is made."""
    assert one.source is not None and is_checkpoint(one.word)
    return one.folder if copied_artifact(one.source, one.folder).done() else one.source


def _shape(inputs: Inputs, one: Assistant) -> Architecture:
    """That of an assistant as a teacher: a pruned one is read in its dense form."""
    if one.candidate:
        shape = one.candidate.architecture
        assert isinstance(shape, Architecture), "a pruned candidate has its teacher's shape"
        return shape
    config = load_config(str(_place(one)))
    return teacher_architecture(config, family_of(config.model_type, one.word))


def _shape_of_student(inputs: Inputs, taught: Candidate) -> AnyArchitecture:
    """One that stands for all pruned students; of another student its own."""
    if not taught.pruning:
        return taught.architecture
    return PrunedArchitecture.whole(inputs.space.pruned_teacher(taught.pruning))


def _weights(inputs: Inputs, candidate: Candidate, shape_of: ShapeOf | None) -> int:
    """Parameters without embeddings; about, where pruning has not found out yet what is left."""
    teacher, share = inputs.space.pruned_teacher(candidate.pruning), candidate.pruning.sparsity
    if shape_of:
        return _count(inputs, shape_of(candidate))
    if not candidate.pruning:
        return _count(inputs, candidate.architecture)
    none = [0] * teacher.num_hidden_layers
    least = _count(inputs, PrunedArchitecture.of(teacher, none, none))
    return round(least + (1 - share) * (_count(inputs, teacher) - least))


def _count(inputs: Inputs, shape: AnyArchitecture) -> int:
    config = copy.deepcopy(inputs.config)
    config.update(inputs.data.spec.head_config)
    with torch.random.fork_rng(devices=[]):
        student = empty_student(config, shape, inputs.data.spec.task_type)
    return count_params(student, embeddings=False)
