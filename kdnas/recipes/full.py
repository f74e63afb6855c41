"""Full KD: students go through the stages of a recipe; each finished stage is an artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kdnas.config import Settings
from kdnas.config.recipe import LABELS_ONLY, Stage
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.sandwich import Part
from kdnas.files.artifact import Artifact
from kdnas.files.cache import use
from kdnas.files.curves import Record, forget
from kdnas.files.locks import file_lock
from kdnas.recipes.stages import (
    StageResources,
    longer_for,
    loss_options,
    losses_of,
    reads_own_outputs,
    schedule_of,
    shapes_of,
    task_epochs,
    teacher_request,
    trains_head,
    views_of,
)
from kdnas.recipes.training import train_by_stage, with_task_head
from kdnas.recipes.transfer_set import FILE, write_transfer
from kdnas.recipes.views import learn_views
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.space.candidate import TEACHERS_VOCABULARY, Candidate
from kdnas.students.build import StudentInitialiser, initialiser_of
from kdnas.students.importance import Importance
from kdnas.students.pruning import PrunedStudents
from kdnas.students.state import StudentState, state_artifact
from kdnas.teachers.cache import about, hash_of, teacher_key
from kdnas.teachers.distillation_data import DistillationData

# One general student serves runs of all seeds.
GENERAL_SEED = 0


@dataclass(frozen=True)
class RecipeRun:
    """What every student of a run is trained with.

    `whole` is the run's teacher, also where an assistant teaches; `record` takes note of each
    training; `pruned` makes students that are pruned, where there are;
    `parts` are those of a student that are trained together; `assisted` says that an assistant
    teaches.
    """

    settings: Settings
    run: Run
    runtime: Runtime
    resources: StageResources
    whole: Architecture
    record: Record = forget
    pruned: PrunedStudents | None = None
    parts: Sequence[Part] = ()
    assisted: bool = False


def run_recipe(
    job: RecipeRun,
    candidate: Candidate,
    folder: Path,
    title: str,
    start: Callable[[], StudentState] | None = None,
) -> StudentState:
    """Trains a student by all stages of the recipe.

    Args:
        folder: Keeps finished stages; a killed run goes on from them.
        title: Names the student where progress is shown.
        start: Makes the state that the first stage goes on from; default: an untrained student. A
            recipe that begins with general stages goes on from their result instead.
    """
    general = tuple(stage for stage in job.settings.full_stages if stage.is_general)
    own = job.settings.full_stages[len(general) :]

    def first() -> StudentState:
        if general:
            return _with_task_head(job, *general_student(job, candidate, general, title))
        return start() if start else _initialiser(job, own[0]).student(candidate)

    origin = {"start": "general" if general else "given" if start else "untrained"}
    artifacts = [
        state_artifact(folder / stage.name, {**origin, **state_key(job, candidate, own[: i + 1])})
        for i, stage in enumerate(own)
    ]
    return _run_stages(job, own, artifacts, first, title)


def general_student(
    job: RecipeRun, candidate: Candidate, stages: Sequence[Stage], title: str
) -> tuple[StudentState, Importance | None]:
    """A student that knows no task: from the cache, or trained now and cached.

    Returns:
        The student, and the importance of its teacher's parts that chose its weights.
    """
    job, artifacts = _general(job, candidate, stages)
    path = artifacts[-1].path
    lock = path.with_suffix(".lock")
    with file_lock(lock, "another process trains the same general student"):
        initialiser = _initialiser(job, stages[0])
        if artifacts[-1].done():
            say(f"{title}: found the general student in {path}")
        start = partial(initialiser.student, candidate)
        return _run_stages(job, stages, artifacts, start, title), initialiser.importance


def prepare_data(job: RecipeRun, candidate: Candidate, state: StudentState) -> None:
    """Makes the teacher's signal that a recipe reads for a student, as far as it is not there.

    `state` is of the student's shape, trained or not.
    """
    stages = job.settings.full_stages
    general = tuple(stage for stage in stages if stage.is_general)
    if general:
        _, artifacts = _general(job, candidate, general)
        stages = stages[len(general) :] if artifacts[-1].done() else stages
    for stage in stages:
        stage_data(job, stage, state)


def train_on_labels(job: RecipeRun, state: StudentState, folder: Path, title: str) -> None:
    """The control without a teacher."""
    stages = [_longer(job, stage, state) for stage in job.settings.full_stages]
    stage = stage_on_labels(job.settings, stages)
    train_stage(job, stage, state, folder / f"{stage.name}.pt", title)


def stage_on_labels(settings: Settings, stages: Iterable[Stage]) -> Stage:
    """Labels alone, for as many epochs as these, a student's stages, have on the task's teacher.

    Batches and dropout are those of the stage whose rate it takes: the highest of those that train
    the head.
    """
    own = [stage for stage in settings.full_stages if not stage.is_general]
    smoothing = [s.options["label_smoothing"] for s in own if "label_smoothing" in s.options]
    fastest = max((stage for stage in own if trains_head(stage)), key=lambda stage: stage.lr)
    alone = Stage(
        name="labels-alone",
        data="task",
        losses=dict(LABELS_ONLY),
        epochs=1,
        lr=fastest.lr,
        batch_size=fastest.batch_size,
        dropout=fastest.dropout,
        word_dropout=max(stage.word_dropout for stage in own),
        **({"label_smoothing": max(smoothing)} if smoothing else {}),
    )
    # Of several stages they may be more than one stage is allowed.
    return alone.model_copy(update={"epochs": task_epochs(stages)})


def train_stage(
    job: RecipeRun, stage: Stage, state: StudentState, checkpoint: Path, title: str
) -> None:
    """Trains a student by one stage, in place; the caller removes the checkpoint."""
    data = stage_data(job, stage, state)
    trained = train_by_stage(
        *(stage, state, data, job.settings, job.runtime),
        title=f"{title}: {stage.name}",
        checkpoint=checkpoint,
        team=job.runtime.team,
        parts=job.parts,
    )
    names = [one.name for one in job.settings.full_stages]
    after = names[: names.index(stage.name)] if stage.name in names else []
    job.record(title, stage.name, trained.curve, after=after)


def _longer(job: RecipeRun, stage: Stage, state: StudentState) -> Stage:
    """A stage with the epochs of this student."""
    return longer_for(state.architecture, job.whole, stage, job.settings)


def stage_data(job: RecipeRun, stage: Stage, state: StudentState) -> DistillationData:
    """A stage's rows with the teacher's signal for them."""
    teacher, rows = job.resources.teacher_of(stage), job.resources.rows_of(stage)
    request = teacher_request(stage, state.architecture, teacher, job.settings)
    views = views_of(stage, shapes_of(teacher, state), job.settings)
    if views:
        with job.run.timed(f"views {stage.name}"):
            size, labelled = job.settings.batch_size, job.resources.task_rows
            learn_views(views, teacher, labelled, size, job.runtime, job.record)
    with job.run.timed(f"signal {stage.name}"):
        data = DistillationData.prepare(teacher, rows, request, job.runtime, views)
    if stage.data == "transfer":
        _keep_transfer(job, data)  # ahead of outputs that are not the teacher's own
    if job.resources.outputs is not None and reads_own_outputs(stage):
        data = data.with_outputs(job.resources.outputs, job.runtime)
    return data


def _keep_transfer(job: RecipeRun, data: DistillationData) -> None:
    """Writes the transfer set with what the run's own teacher says of it, where that is known.

    Its targets are; its logits are not where an assistant teaches, and it is not run for a file.
    """
    transfer = job.resources.transfer
    assert transfer is not None, "a stage reads it"
    if transfer.targets is not None or not job.assisted:
        write_transfer(transfer_file(job), transfer, data, job.runtime)


def transfer_file(job: RecipeRun) -> Path:
    """Where a recipe's transfer set is; of several on offer, each has a file of its own."""
    several = bool(job.run.settings.offered)
    return job.run.folder / (f"transfer-{job.settings.recipe}.jsonl.gz" if several else FILE)


def state_key(job: RecipeRun, candidate: Candidate, stages: Sequence[Stage]) -> dict[str, Any]:
    """All that a student depends on, beside its teacher, its rows and where it started."""
    settings = job.settings
    lower = {"lower_rates": True} if candidate.pruning and settings.lower_rates else {}
    own = job.resources.outputs is not None and any(map(reads_own_outputs, stages))
    return {
        **lower,
        **({"teacher_folds": settings.teacher_folds} if own else {}),
        "candidate": candidate.params,
        "stages": [
            {**_longer_key(stage, settings), **stage_key(stage, settings)} for stage in stages
        ],
        "inherit": settings.inherit,
        "seed": settings.seed,
    }


def general_key(job: RecipeRun, candidate: Candidate, stages: Sequence[Stage]) -> dict[str, Any]:
    """All that a general student depends on, in whatever run."""
    teacher, rows = job.resources.teacher_of(stages[0]), job.resources.rows_of(stages[0])
    # Its vocabulary is cut when it ships: all tokens are trained.
    plain = replace(candidate, recipe="", vocabulary=TEACHERS_VOCABULARY)
    key = state_key(job, plain, stages)
    for stage in key["stages"]:
        del stage["name"]
    precision = job.runtime.precision
    return {**key, "teacher": teacher_key(teacher, rows), "precision": precision}


def _general(
    job: RecipeRun, candidate: Candidate, stages: Sequence[Stage]
) -> tuple[RecipeRun, list[Artifact[StudentState]]]:
    """What trains a general student, and what its stages leave in the cache."""
    job = replace(job, settings=job.settings.model_copy(update={"seed": GENERAL_SEED}))
    keys = [general_key(job, candidate, stages[: i + 1]) for i in range(len(stages))]
    told = f"{candidate.architecture.label}, of general stages"
    return job, [state_artifact(use("students", hash_of(key), told), key) for key in keys]


def _weights_key(settings: Settings, stage: Stage) -> dict[str, str]:
    """The weights of classes, where a stage learns from labels and they are not all 1."""
    labelled = any(LOSSES[n].needs_labels or LOSSES[n].has_views for n in stage.weighed)
    weighs = labelled and settings.class_weights != "none"
    return {"class_weights": settings.class_weights} if weighs else {}


def _longer_key(stage: Stage, settings: Settings) -> dict[str, bool]:
    """Whether small students train longer by a stage."""
    longer = settings.more_epochs and stage.data == "task" and not stage.is_general
    return {"more_epochs": True} if longer else {}


def stage_key(stage: Stage, settings: Settings) -> dict[str, Any]:
    """All of a stage, and of the settings beside it, that decides how it trains a student."""
    schedule = schedule_of(stage, settings)
    options = {
        name: loss_options(name, stage, settings).model_dump(mode="json")
        for name in losses_of(stage, has_head=True)
    }
    # What was made before the key existed is found.
    later = {"decoder_losses"}
    later |= {name for name in ("freeze_student", "word_dropout") if not getattr(stage, name)}
    return {
        **_weights_key(settings, stage),
        **stage.model_dump(mode="json", include={*Stage.model_fields} - later),
        "batch_size": schedule.batch_size,
        "freeze_embeddings": schedule.freeze_embeddings,
        "options": options,
    }


def _run_stages(
    job: RecipeRun,
    stages: Sequence[Stage],
    artifacts: Sequence[Artifact[StudentState]],
    start: Callable[[], StudentState],
    title: str,
) -> StudentState:
    """Trains a student by stages, from the last one that is done."""
    done = next((i for i in reversed(range(len(artifacts))) if artifacts[i].done()), -1)
    state = start() if done < 0 else artifacts[done].read()
    for stage, artifact in list(zip(stages, artifacts, strict=True))[done + 1 :]:
        checkpoint = artifact.path.with_name(f"{artifact.path.name}.pt")
        train_stage(job, _longer(job, stage, state), state, checkpoint, title)
        artifact.write(state)
        checkpoint.unlink(missing_ok=True)
    return state


def _initialiser(job: RecipeRun, stage: Stage) -> StudentInitialiser:
    """Starts students from a stage's teacher; what matters in a general one is measured once."""
    teacher, rows = job.resources.teacher_of(stage), job.resources.rows_of(stage)
    cached = None
    if stage.is_general and job.settings.inherit:
        key = {"teacher": teacher_key(teacher, rows), "precision": job.runtime.precision}
        file = use("importance", f"{hash_of(key)}.safetensors", about(teacher, rows))
        cached = Artifact(file, key, Importance.load, Importance.save, is_folder=False)
    inherit, seed = job.settings.inherit, job.settings.seed
    own = {} if stage.is_general else {"pruned": job.pruned}
    return initialiser_of(
        teacher, rows, job.runtime, inherit=inherit, seed=seed, cached=cached, **own
    )


def _with_task_head(
    job: RecipeRun, general: StudentState, importance: Importance | None
) -> StudentState:
    """The general student with a head taken from the task's teacher, in the same basis."""
    settings, teacher = job.settings, job.resources.task_teacher.model
    task = StudentInitialiser(teacher, settings.inherit, importance, settings.seed)
    return with_task_head(task, general)
