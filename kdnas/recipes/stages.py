"""From a stage of a recipe to what it reads, what it minimises, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from pydantic import ValidationError

from kdnas.config import Settings
from kdnas.config.read import nearest
from kdnas.config.stages import LOSS_SETTINGS, Stage
from kdnas.distillation.losses import LOSSES, DistillationLoss, LossOptions, Shapes
from kdnas.distillation.losses.weighted import WeightedLosses
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.schedule import Schedule
from kdnas.errors import KdnasError
from kdnas.runtime.device import Runtime
from kdnas.space.architecture import Architecture
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher


def loss_options(name: str, stage: Stage, settings: Settings) -> LossOptions:
    """The options of a stage's loss: the stage's own keys, else the run's settings.

    Raises:
        KdnasError: A value is out of range.
    """
    kind = LOSSES[name].Options
    shared = {key: getattr(settings, key) for key in LOSS_SETTINGS if key in kind.model_fields}
    own = {key: value for key, value in stage.options.items() if key in kind.model_fields}
    try:
        return kind(**{**shared, **own})
    except ValidationError as error:
        first = error.errors()[0]
        key, reason = ".".join(map(str, first["loc"])), first["msg"]
        raise KdnasError(
            f"stage {stage.name!r}: invalid {key} {first['input']!r}: "
            f"{reason[0].lower()}{reason[1:]}"
        ) from None


def losses_of(stage: Stage, has_head: bool) -> tuple[str, ...]:
    """The losses of a stage that count.

    The recipe without stages asks for logits whether or not the teacher has a head for the task;
    without one they are left out.
    """
    return tuple(name for name in stage.weighed if has_head or not LOSSES[name].needs_teacher_head)


def teacher_request(
    stage: Stage,
    student: Architecture,
    teacher: Teacher,
    settings: Settings,
    also: Iterable[str] = (),
) -> OutputRequest:
    """What a stage's losses, and some more, read of the teacher."""
    shapes = Shapes(teacher.architecture, student)
    request = OutputRequest()
    for name in dict.fromkeys((*losses_of(stage, teacher.has_head), *also)):
        request |= LOSSES[name].teacher_request(shapes, loss_options(name, stage, settings))
    return request


def make_losses(
    names: Iterable[str],
    stage: Stage,
    state: StudentState,
    data: DistillationData,
    settings: Settings,
    runtime: Runtime,
    *,
    fit: bool = True,
) -> dict[str, DistillationLoss]:
    """Losses for a student, on the runtime's device.

    Each goes on with the student's parameters of that name where they fit, else they are fitted to
    the student as it is now.

    Args:
        fit: Whether to fit parameters; a checkpoint that is about to be loaded has them.
    """
    shapes = Shapes(data.teacher.architecture, state.architecture)
    losses = {}
    for name in names:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            options = loss_options(name, stage, settings)
            loss = LOSSES[name](shapes, options, data.statistics)
        before = state.parts.get(name)
        loss.to(runtime.device)
        if before is not None and loss.continues(before):
            loss.load_state_dict(before)
        elif fit and list(loss.parameters()):
            state.model.to(runtime.device)  # type: ignore[arg-type]
            loss.fit(state.model, data.some_batches(runtime, settings.seed), data.source, runtime)
        losses[name] = loss
    return losses


def weighted_losses(
    stage: Stage,
    state: StudentState,
    data: DistillationData,
    settings: Settings,
    runtime: Runtime,
    *,
    fit: bool = True,
) -> WeightedLosses:
    """What a stage minimises; arguments as of `make_losses`."""
    names = losses_of(stage, data.teacher.has_head)
    losses = make_losses(names, stage, state, data, settings, runtime, fit=fit)
    return WeightedLosses({name: (stage.losses[name], loss) for name, loss in losses.items()})


def schedule_of(stage: Stage, settings: Settings) -> Schedule:
    """How long and how fast a stage trains."""
    frozen = stage.freeze_embeddings
    if frozen is None:
        trained = any(LOSSES[name].trains_embeddings for name in stage.weighed)
        frozen = settings.inherit and not trained
    return Schedule(
        stage.epochs,
        stage.lr,
        stage.batch_size or settings.batch_size,
        settings.seed,
        dropout=stage.dropout,
        freeze_embeddings=frozen,
        stride=stage.stride,
    )


def teacher_schedule(settings: Settings) -> Schedule:
    """How long and how fast a teacher is fine-tuned."""
    epochs, lr = settings.teacher_epochs, settings.teacher_lr
    return Schedule(epochs, lr, settings.batch_size, settings.seed)


def trains_head(stage: Stage) -> bool:
    """Whether a stage trains the student's head."""
    return any(LOSSES[name].trains_head for name in stage.weighed)


def check_recipe(
    settings: Settings,
    teacher: Architecture | None = None,
    students: Collection[Architecture] = (),
    *,
    has_head: bool = True,
) -> None:
    """Refuses stages whose losses or options are unknown or cannot be had.

    Args:
        teacher: The teacher's shape; None checks what does not depend on it.
        students: All students of the space.
        has_head: Whether the teacher of a run has, or will have, a head for the task.

    Raises:
        KdnasError: Names the first problem.
    """
    for stage in (settings.mini_stage, *settings.recipe):
        _check_names(stage)
        for name in stage.weighed:
            options = loss_options(name, stage, settings)
            problem = teacher and LOSSES[name].problem(options, teacher, students)
            if problem:
                raise KdnasError(f"stage {stage.name!r}: {problem}")
    for stage in settings.stages:
        _check_task(stage)
    if not trains_head(settings.recipe[-1]):
        raise KdnasError(
            f"the last stage, {settings.recipe[-1].name!r}, does not train the head; give it a "
            f"loss that does: {_listed(name for name in LOSSES if LOSSES[name].trains_head)}"
        )
    _check_mini(settings)
    for stage in () if has_head else (settings.mini_stage, *settings.stages):
        for name in (n for n in stage.losses if LOSSES[n].needs_teacher_head):
            raise KdnasError(
                f"stage {stage.name!r} learns from {name}, but the teacher has no head for the "
                "task; leave that loss or --teacher-as-is out"
            )


def _check_names(stage: Stage) -> None:
    for name in stage.losses:
        if name not in LOSSES:
            raise KdnasError(
                f"unknown loss {name!r} of stage {stage.name!r}{nearest(name, LOSSES)}"
            )
    known = {key for name in stage.losses for key in LOSSES[name].Options.model_fields}
    for key in stage.options:
        if key not in known:
            hint = nearest(key, {*Stage.model_fields, *known})
            raise KdnasError(f"unknown key {key!r} of stage {stage.name!r}{hint}")


def _check_task(stage: Stage) -> None:
    for name in stage.losses:
        if stage.is_general and LOSSES[name].trains_head:
            raise KdnasError(
                f"stage {stage.name!r} learns from {name}, which a general teacher cannot give; "
                "give it teacher: task"
            )
        if stage.data == "corpus" and LOSSES[name].needs_labels:
            raise KdnasError(
                f"stage {stage.name!r} learns from {name}, but a corpus has no labels; give it "
                "data: task or transfer"
            )


def _check_mini(settings: Settings) -> None:
    """Candidates learn without labels, and what trains the head must be among what scores it."""
    stage, score = settings.mini_stage, settings.mini_score
    for name in stage.losses:
        if LOSSES[name].needs_labels:
            usable = _listed(n for n in LOSSES if not LOSSES[n].needs_labels)
            raise KdnasError(f"mini_losses has {name!r}, which needs labels; give one of {usable}")
    for name in settings.scored_losses:
        if name not in LOSSES or LOSSES[name].needs_labels:
            raise KdnasError(f"invalid --mini-score {score}: unknown loss{nearest(name, LOSSES)}")
        if LOSSES[name].trains_head and name not in stage.weighed:
            raise KdnasError(
                f"--mini-score is {score}, but mini_losses has no {name}, so that no head is "
                f"trained; add {name} to mini_losses"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
