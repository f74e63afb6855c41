"""The disk that a run will need, and what there is."""

from __future__ import annotations

from typing import Any

import torch

from kdnas.config import settings_of
from kdnas.distillation.losses import Shapes
from kdnas.files.cache import cache_folder
from kdnas.files.disk import PAUSED, WEIGHT_BYTES, Disk, existing
from kdnas.measure import count_params
from kdnas.recipes.stages import teacher_request, views_of
from kdnas.runs.context import Context
from kdnas.scoring.limits import Limits
from kdnas.scoring.mini_kd import states_for
from kdnas.space import Architecture
from kdnas.students import empty_student
from kdnas.tasks import EncodedExamples
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import store_bytes, stored_states
from kdnas.workflow.planning.probe import usual_shape
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.prepare import needs_signal

# Students of trials that may still win.
KEPT_TRIALS = 5


def disk_needed(
    context: Context, inputs: Inputs, given: Teacher, *, tunes: bool, students: int
) -> list[Disk]:
    """What the cache and the run folder will hold more; one entry where they share a disk."""
    stores = _stores(context, inputs, given, in_full=students > 0)
    teacher = WEIGHT_BYTES * count_params(given.model)
    shape = _usual_shape(context, inputs, given)
    with torch.device("meta"):
        student = empty_student(given.model.config, shape, inputs.data.spec.task_type)
    one = WEIGHT_BYTES * count_params(student)
    trials = KEPT_TRIALS if context.settings.searches else 0
    own = one * (students + trials + PAUSED) + tunes * (1 + PAUSED) * teacher
    cached = stores + tunes * teacher
    cache, folder = existing(cache_folder()), existing(context.run.place)
    if cache.stat().st_dev == folder.stat().st_dev:
        return [Disk.of(context.run.place, cached + own)]
    return [
        Disk.of(cache_folder(), cached),
        Disk.of(context.run.place, own),
    ]


def _usual_shape(context: Context, inputs: Inputs, given: Teacher) -> Architecture:
    limits = Limits.of(context.settings)
    return usual_shape(inputs.space, limits, count_params(given.model))


def _stores(context: Context, inputs: Inputs, given: Teacher, *, in_full: bool) -> int:
    """Bytes of the teacher's signal for the proxy and, where students train in full, all rows.

    What short trainings do not read is not stored.
    """
    settings, data = context.settings, inputs.data
    proxy = data.distillation.take(data.proxy)
    needed = 0
    for general in (False, True) if needs_signal(settings, inputs.space) else ():
        states = states_for(inputs.space, given, settings, general=general)
        needed += store_bytes(given, proxy, states)
    shape = _usual_shape(context, inputs, given)
    rows: dict[str, tuple[EncodedExamples, float]] = {"task": (data.train, 1.0)}
    if data.corpus is not None:
        rows["corpus"] = (data.corpus, 1.0)
    most: dict[tuple[str, bool], int] = {}
    config: Any = given.model.config
    shapes = Shapes(given.architecture, shape, int(config.num_labels))
    offered = [settings_of(settings, recipe) for recipe in inputs.space.every_recipe]
    stages = [(stage, own) for own in offered for stage in own.full_stages]
    for stage, own in stages if in_full else ():
        rows["transfer"] = (data.train, own.transfer_rows / len(data.train))
        rows["pseudo-labels"] = (data.train, 1.0)
        with torch.device("meta"):
            views = views_of(stage, shapes, own)
        states = stored_states(given, teacher_request(stage, shape, given, own).states, views)
        made = {state: view for state, view in views.items() if state in states}
        part, times = rows[stage.data]
        size = round(times * store_bytes(given, part, states, made))
        place = (stage.data, stage.is_general)
        most[place] = max(most.get(place, 0), size)
        read = {state for view in views.values() for state in view.of_teacher.states}
        learnt = store_bytes(given, data.train, read)  # views are learnt on the task's rows
        most["task", False] = max(most.get(("task", False), 0), learnt)
    return needed + sum(most.values())
