"""The disk that a run will need, and what there is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from kdnas.files.cache import cache_folder
from kdnas.measure import count_params
from kdnas.recipes.stages import teacher_request
from kdnas.runs.context import Context
from kdnas.runtime.formatting import in_bytes
from kdnas.scoring.mini_kd import states_for
from kdnas.students import empty_student
from kdnas.tasks import EncodedExamples
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import store_bytes
from kdnas.workflow.inputs import Inputs
from kdnas.workflow.probe import middle_shape

WEIGHT_BYTES = 4
# A paused training keeps the weights and two averages of the gradient.
PAUSED = 3
# Students of trials that may still win.
KEPT_TRIALS = 5


@dataclass(frozen=True)
class Disk:
    """Bytes that a run will need in a folder, at most, and those that are free there."""

    folder: Path
    needed: int
    free: int

    @property
    def warning(self) -> str | None:
        """A line where it is too little."""
        if self.needed <= self.free:
            return None
        return (
            f"warning: {self.folder} has {in_bytes(self.free)} free, and this needs about "
            f"{in_bytes(self.needed)}; free some, lower --proxy-fraction, or set KDNAS_CACHE and "
            "--out to a larger disk"
        )


def disk_needed(
    context: Context, inputs: Inputs, given: Teacher, *, tunes: bool, students: int
) -> list[Disk]:
    """What the cache and the run folder will hold more; one entry where they share a disk."""
    stores = _stores(context, inputs, given, in_full=students > 0)
    teacher = WEIGHT_BYTES * count_params(given.model)
    shape = middle_shape(inputs.space, context.settings.speedup)
    with torch.device("meta"):
        student = empty_student(given.model.config, shape, inputs.data.spec.task_type)
    one = WEIGHT_BYTES * count_params(student)
    own = one * (students + KEPT_TRIALS + PAUSED) + tunes * (1 + PAUSED) * teacher
    cached = stores + tunes * teacher
    cache, folder = _existing(cache_folder()), _existing(context.run.folder)
    if cache.stat().st_dev == folder.stat().st_dev:
        return [Disk(context.run.folder, cached + own, shutil.disk_usage(folder).free)]
    return [
        Disk(cache_folder(), cached, shutil.disk_usage(cache).free),
        Disk(context.run.folder, own, shutil.disk_usage(folder).free),
    ]


def _stores(context: Context, inputs: Inputs, given: Teacher, *, in_full: bool) -> int:
    """Bytes of the teacher's signal for the proxy and, where students train in full, all rows."""
    settings, data = context.settings, inputs.data
    proxy = data.distillation.take(data.proxy)
    needed = store_bytes(given, proxy, states_for(inputs.space, given, settings))
    shape = middle_shape(inputs.space, settings.speedup)
    rows: dict[str, tuple[EncodedExamples, float]] = {"task": (data.train, 1.0)}
    if data.corpus is not None:
        rows["corpus"] = (data.corpus, 1.0)
    rows["transfer"] = (data.train, settings.transfer_rows / len(data.train))
    most: dict[tuple[str, bool], int] = {}
    for stage in settings.recipe if in_full else ():
        states = teacher_request(stage, shape, given, settings).states
        part, times = rows[stage.data]
        size = round(times * store_bytes(given, part, states))
        place = (stage.data, stage.is_general)
        most[place] = max(most.get(place, 0), size)
    return needed + sum(most.values())


def _existing(folder: Path) -> Path:
    """A folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
