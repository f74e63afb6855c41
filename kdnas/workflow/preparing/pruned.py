"""What makes the pruned students of a run, and where each of several is."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedModel

from kdnas.files.artifact import content_of, key_of, outdate
from kdnas.measure import LatencySettings
from kdnas.recipes.stages import in_standard_units
from kdnas.runs.context import Context
from kdnas.runs.student import report_of_pruned
from kdnas.runtime.console import say
from kdnas.scoring.costs import CostMeter
from kdnas.space import Pruning
from kdnas.students.checkpoint import load_student
from kdnas.students.pruning import PrunedStudents, latency_table, order_file
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.distillation_data import some_batches
from kdnas.teachers.head import to_standard_units
from kdnas.teachers.load import Teacher
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.selection_rows import for_students

FOLDER, LATENCY_TABLE = "pruning", "latency table"
# Passes of each entry of a latency table, whose neighbours are averaged.
TABLE_REPEATS = 10


def pruned_students(
    context: Context, inputs: Inputs, teacher: Teacher, meter: CostMeter
) -> PrunedStudents:
    """What makes the pruned students of a run.

    Orders and latencies are artifacts in RUN/pruning, shared by all its students.
    """
    settings, runtime, folder = context.settings, context.runtime, context.run.folder / FOLDER
    rows = in_standard_units(for_students(inputs.data, settings).train, teacher)
    timing = LatencySettings(
        settings.latency_batch, settings.latency_length, TABLE_REPEATS, settings.latency_quiet
    )

    def folder_of(pruning: Pruning) -> Path:
        return home_of_pruned(context, pruning) / "student"

    def trained(pruning: Pruning) -> PreTrainedModel:
        student = load_student(folder_of(pruning))
        to_standard_units(student, teacher.scale)
        return student

    return PrunedStudents(
        teacher=teacher.model,
        # Importance by gradients is a sum over batches of absolute values.
        rows=lambda: some_batches(rows, teacher.pad_id, runtime, settings.seed, merge=False),
        runtime=runtime,
        folder=folder,
        key={"teacher": teacher_key(teacher, rows), "seed": settings.seed},
        table=lambda: latency_table(
            _table_file(context),
            teacher.model,
            timing,
            settings.latency_runtime,
            runtime.describe(),
        ),
        speedup=lambda shape: meter.of_model(meter.of_shape(shape)).speedup,
        trained=trained,
        content=lambda pruning: content_of(folder_of(pruning)),
        seed=settings.seed,
        # A search has other students; what a given one is compared with is no reason to end.
        at_best=lambda pruning: settings.searches or pruning not in inputs.space.prunings,
    )


def measure_pruning(context: Context, students: PrunedStudents, pruning: Pruning) -> None:
    """Finds out what a pruned student keeps; what goes first, and how fast layers are, are steps.

    Raises:
        MissedLimitError: No pruning reaches a speed-up.
    """
    for name in to_be_measured(context, [pruning]):
        with context.run.timed(name):
            if name == LATENCY_TABLE:
                students.table()
            else:
                students.order(pruning)
    with context.run.timed("pruning"):
        students.counts(pruning)


def outdate_trained(
    context: Context, students: PrunedStudents, pruning: Pruning, home: Path
) -> None:
    """Has students trained again that are pruned from another student than the one there is now.

    That is another one once it was trained by another recipe, or another of its seeds counts: what
    is left of it differs, and so does where a training begins. Those that there are stay until
    others take their places. `home` has the report.
    """
    if not students.is_outdated(pruning):
        return
    say(f"{pruning.label} is pruned anew: {pruning.before.label} is another student now")
    for file in (*home.glob("student"), *home.glob("controls/*"), *home.glob("seeds/*/*")):
        params = (key_of(file) or {}).get("candidate", {})
        if Pruning.from_params(params).after:
            outdate(file)
    shutil.rmtree(context.run.folder / "work", ignore_errors=True)


def to_be_measured(
    context: Context, prunings: Iterable[Pruning], *, afresh: bool = False
) -> list[str]:
    """The steps that some pruned students need first, those of a family but the first left out.

    `afresh` asks for all, whatever was measured of another teacher.
    """
    prunings, found = list(prunings), dict[str, Path]()
    for pruning in prunings:
        found[importance_step(pruning)] = importance_file(context, pruning)
    if any(pruning.speedup for pruning in prunings):
        found[LATENCY_TABLE] = _table_file(context)
    return [name for name, file in found.items() if afresh or not file.exists()]


def importance_step(pruning: Pruning) -> str:
    """The step that finds out what goes first: `importance by ziplm`, in a family ` of 2x`."""
    of = f" of {pruning.layers} layers" if pruning.layers else ""
    after = f" after {pruning.before.target}" if pruning.layers and pruning.after else ""
    after = after or (f" of {pruning.before.target}" if pruning.after else "")
    return f"importance by {pruning.method}{of}{after}"


def importance_file(context: Context, pruning: Pruning) -> Path:
    """What goes first, kept."""
    return context.run.folder / FOLDER / order_file(pruning)


def _table_file(context: Context) -> Path:
    return context.run.folder / FOLDER / "latencies.json"


def home_of_pruned(context: Context, pruning: Pruning) -> Path:
    """The folder of a pruned student's report: the run's own of the last that is asked for."""
    return context.run.folder / report_of_pruned(context.settings, pruning.speedup)
