"""The training of a student by one stage, and the step from a general student to the task's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kdnas.config import Settings
from kdnas.config.recipe import Stage
from kdnas.distillation.sandwich import Part, SandwichLosses
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import TrainResult, train
from kdnas.recipes.stages import rates_of, remedy_of, schedule_of, weighted_losses
from kdnas.runtime.device import Runtime
from kdnas.runtime.distributed import ALONE, Team
from kdnas.space import Candidate
from kdnas.students.build import StudentInitialiser
from kdnas.students.inherit import take_body
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import DistillationData


def train_by_stage(
    stage: Stage,
    state: StudentState,
    data: DistillationData,
    settings: Settings,
    runtime: Runtime,
    *,
    title: str,
    schedule: Schedule | None = None,
    checkpoint: Path | None = None,
    fit: bool = True,
    until: float = 1.0,
    team: Team = ALONE,
    parts: Sequence[Part] = (),
) -> TrainResult:
    """Trains a student by one stage of a recipe, in place.

    Args:
        stage: Its losses and, without a `schedule`, how long and how fast; of a pruned student,
            both have lower rates (`rates_of`).
        state: Goes on with the parameters that its losses have learnt so far.
        data: What the stage reads.
        settings: Of the recipe.
        title: Names the student where progress is shown.
        checkpoint: See `train`, also for `until` and `team`.
        fit: Whether to fit losses' parameters; a checkpoint that is about to be loaded has them.
        parts: Of the student, where several are trained together.
    """
    losses = weighted_losses(stage, state, data, settings, runtime, fit=fit)
    if parts:
        losses = SandwichLosses(losses, parts)
    schedule = schedule or schedule_of(stage, settings)
    schedule = replace(schedule, lr=rates_of(state, settings) * schedule.lr)
    trained = train(
        state.model,
        losses,
        data.data,
        data.source,
        schedule,
        runtime,
        pad_id=data.teacher.pad_id,
        title=title,
        remedy=remedy_of(stage, settings),
        checkpoint=checkpoint,
        until=until,
        freeze_model=stage.freeze_student,
        word_dropout=stage.word_dropout,
        team=team,
    )
    state.keep(losses.named)
    return trained


def with_task_head(task: StudentInitialiser, general: StudentState) -> StudentState:
    """A general student with a head taken from the task's teacher.

    `task` must have the basis that the general student began in (`StudentInitialiser.importance`).
    """
    state = task.student(Candidate(general.architecture))
    take_body(state.model, general.model)
    return state
