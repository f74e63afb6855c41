"""What a run reads before it computes anything, and the checks that refuse bad input."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from kdnas.config import Settings, every_recipe
from kdnas.config.groups import OF_FINE_TUNING, OF_SCORING, OF_SHORT_RUNS, OF_THE_TEACHER
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact
from kdnas.recipes.run_data import Draw, RunData, prepare_data
from kdnas.recipes.transfer_set import FILES as TRANSFER_FILES
from kdnas.recipes.transfer_set import reads_transfer
from kdnas.runs.context import Context
from kdnas.runs.run_folder import FAMILY, Run, resolve
from kdnas.runtime.console import say
from kdnas.runtime.device import device_named
from kdnas.scoring.costs import CostMeter
from kdnas.scoring.limits import Limits, check_prunable_to, check_reachable, least_shapes
from kdnas.scoring.scorers import find_scorer
from kdnas.space import NOT_PRUNED, Pruning, SearchSpace
from kdnas.space.given_shape import with_assistants
from kdnas.students import empty_student
from kdnas.students.static import check_static
from kdnas.study.attributes import FINGERPRINTS
from kdnas.study.study import has_score
from kdnas.study.whole import what_is_distilled
from kdnas.tasks.sampling import stratified_sample, training_sample
from kdnas.teachers.load import (
    Teacher,
    check_family,
    check_general_teacher,
    load_config,
    load_parts,
    load_teacher,
    teacher_source,
)
from kdnas.teachers.tokenizer import longest_input
from kdnas.workflow.preparing.count_jobs import check_jobs
from kdnas.workflow.preparing.early import task_data
from kdnas.workflow.preparing.recipes_on_offer import (
    check_given_recipe,
    check_one_recipe,
    usable_recipes,
    with_usable_recipes,
)
from kdnas.workflow.preparing.run_space import space_of
from kdnas.workflow.preparing.trials_spent import study_of, trials_spent
from kdnas.workflow.preparing.vocabularies import Vocabularies, read_vocabularies

GPU_BATCH = 32
# Where RUN/work keeps a student behind its short training; nothing depends on that yet.
SHORT = "mini-KD"
# Folders of a run with students that its teacher, or the labels, taught in full.
OF_STUDENTS = ("student", "controls", FAMILY, "assistants")
# The steps about a teacher and the data that it learns and is scored on, and what it teaches first.
OF_THE_DATA = (
    *("teacher-outputs", "teacher-threshold", "evaluate-teacher", "floor"),
    *("fingerprint", "data", "screened"),
)


# In the record of the data, how the rows that choose the student are counted; older runs lack it.
CHOICE = "choice"


@dataclass(frozen=True)
class Inputs:
    """What a run reads: its teacher's config, its data, its space, its students' vocabularies."""

    source: str  # hub id or folder of the teacher or the student base, as the user gave it
    config: Any  # its config
    data: RunData  # tokenised for the teacher
    space: SearchSpace
    vocabularies: Vocabularies  # by name


def with_latency_input(settings: Settings) -> Settings:
    """Settings with the input that latency is measured on, where nobody set it.

    It is no longer than the teacher and students read. On a GPU it is a batch as one would serve
    there: the time of a single example is that of launching kernels, the same for small and large
    models.
    """
    settings, changes = resolve(settings), dict[str, Any]()
    given = settings.model_fields_set
    with suppress(KdnasError):  # loading the teacher says it better, starting the device, too
        if "latency_batch" not in given and settings.latency_runtime == "torch":
            device = device_named(settings.device)
            if device.type != "cpu":
                changes["latency_batch"] = GPU_BATCH
                say(f"latency is measured at batch {GPU_BATCH} on {device} (--latency-batch)")
        if "latency_length" not in given:
            longest = longest_input(load_config(teacher_source(settings.base)))
            found = min(settings.latency_length, settings.max_length, longest)
            changes["latency_length"] = found
    return settings.model_copy(update=changes)


def read_inputs(context: Context) -> Inputs:
    """Reads config, tokenizer, data and space.

    Raises:
        KdnasError: The teacher, the task or the data cannot be used.
    """
    settings = context.settings
    source = teacher_source(settings.base)
    config, tokenizer = load_parts(source)
    task = task_data(settings)
    check_family(source, config, task.spec.task_type)
    space = space_of(settings, config, source)
    check_static(space.architectures, task.spec.task_type)
    data = _as_begun(context, partial(prepare_data, task, settings, tokenizer, config))
    if settings.offered:
        space = with_usable_recipes(settings, space, data, config)
    space = space.with_vocabularies(settings.vocabulary_names)
    space = with_assistants(space, settings.assistant_words, config, source)
    return Inputs(source, config, data, space, read_vocabularies(settings, data, config))


def _as_begun(context: Context, prepare: Callable[[Draw], RunData]) -> RunData:
    """A run's data as `prepare` makes them with rows drawn to train on, by the draw it began with.

    Runs that began when --max-train-rows could miss a rare class keep their rows.
    """

    def drawn(draw: Draw) -> RunData:
        return replace(prepare(draw), needs_enough=_needs_enough(context))

    data = drawn(training_sample)
    if data.spare is None or not changed_part(context, data):
        return data
    before = drawn(stratified_sample)
    return data if changed_part(context, before) else before


def load_given_teacher(context: Context, inputs: Inputs, *, afresh: bool = False) -> Teacher:
    """The run's fine-tuned teacher where there is one, else the teacher as the user gave it.

    `afresh` asks for the latter in any case.

    Raises:
        KdnasError: It cannot be loaded, or cannot read what its tokenizer gives.
    """
    tuned = context.run.folder / "teacher"
    if (tuned / "config.json").exists() and not afresh:
        return load_teacher(str(tuned), inputs.data.spec, options=inputs.data.options)
    settings = context.settings
    words = settings.label_map.split(",") if settings.label_map else ()
    options = inputs.data.options
    teacher = load_teacher(inputs.source, inputs.data.spec, settings.seed, words, options)
    teacher.recorded = settings.teacher_predictions is not None
    return teacher


def check_inputs(context: Context, inputs: Inputs) -> None:
    """Raises KdnasError where settings, recipe and data do not fit each other."""
    settings, data = context.settings, inputs.data
    find_scorer(settings.scorer)
    check_jobs(context)
    if settings.offered:
        usable_recipes(settings, inputs.space, data, inputs.config)
    else:
        check_given_recipe(settings, inputs.space)
        check_one_recipe(settings, inputs.space, data, inputs.config)
    if settings.teacher_folds > 1 and data.spec.task_type.generates:
        raise KdnasError(
            f"invalid --teacher-folds {settings.teacher_folds}: not supported for teachers that "
            "write texts; leave it out"
        )
    if settings.general_teacher:
        check_general_teacher(settings.general_teacher, inputs.config, data.tokenizer)
    if data.further is not None and not any(map(reads_transfer, every_recipe(settings).values())):
        count = f"{data.further.row_count:,}"
        say(f"no stage of the recipe reads the {count} further texts; give one `data: transfer`")


def check_total(context: Context) -> None:
    """Raises KdnasError where --trials is below what the study has spent, or there is no study."""
    settings, before = context.settings, Run.open(context.run.folder).settings
    if settings.trials != before.trials and not settings.searches:
        raise KdnasError(
            f"invalid --trials {settings.trials}: {context.run.folder} has no search, it distils "
            f"{what_is_distilled(settings)}; leave --trials out"
        )
    if settings.trials >= before.trials:
        return
    done = trials_spent(context)
    if settings.trials < done:
        raise KdnasError(
            f"invalid --trials {settings.trials}: the study has {done:g} already; give the new "
            f"total, {math.ceil(done)} or more"
        )


def check_has_trials(context: Context) -> None:
    """Raises KdnasError where there is nothing to finish: no search, or no scored candidate."""
    folder = context.run.folder
    if not context.settings.searches:
        raise KdnasError(f"{folder} has no search to finish; leave --finish out")
    study = study_of(context)
    if study is None or not has_score(study):
        raise KdnasError(f"{folder} has no finished trial yet to ship; leave --finish out")


def check_changes(context: Context, data: RunData) -> bool:
    """Whether a setting, or the data, changed that the teacher was trained and scored with.

    Raises:
        KdnasError: Settings or data changed that the scores of the study already depend on.
    """
    settings, of_teacher = context.settings, changed_of_teacher(context)
    # Where predictions are scored, it is after a short run of the recipe.
    of_scoring = (*OF_SCORING, *(OF_SHORT_RUNS if settings.scores_agreement else ()))
    names = [*of_teacher, *_changed(context, of_scoring)]
    if names and (depends := _depends(context)):
        before = Run.open(context.run.folder).settings
        old, new = getattr(before, names[0]), getattr(settings, names[0])
        raise KdnasError(
            f"invalid --{names[0].replace('_', '-')} {new}: {depends} with {old} already; start "
            "another run with --out"
        )
    other = changed_part(context, data)
    if other and _has_used_data(context):
        raise _other_data(context, other)
    if other:
        told = f"the {other} data changed since {context.run.folder} began"
        say(f"{told}: its teacher is prepared and scored again")
    return bool(other) or bool(of_teacher)


def changed_of_teacher(context: Context) -> list[str]:
    """Settings that the run's teacher was prepared with, and that are others now."""
    # Nothing depends on how a teacher would have been fine-tuned that had its head already.
    tuned = (context.run.folder / "teacher" / "config.json").exists()
    return _changed(context, [n for n in OF_THE_TEACHER if tuned or n not in OF_FINE_TUNING])


def _changed(context: Context, names: Iterable[str]) -> list[str]:
    """Those of some settings that are not as the run folder has them."""
    before, now = Run.open(context.run.folder).settings, context.settings
    return [name for name in names if getattr(before, name) != getattr(now, name)]


def _depends(context: Context) -> str:
    """What was made with the settings of the teacher and of scoring; empty where nothing was."""
    folder = context.run.folder
    if context.settings.searches:
        return "the study's candidates were scored" if trials_spent(context) > 0 else ""
    begun = any((folder / name).exists() for name in OF_STUDENTS)
    files = (at.relative_to(folder) for at in folder.glob("work/**/*") if at.is_file())
    begun = begun or any(SHORT not in file.parts for file in files)
    return "the student was trained" if begun else ""


def _has_used_data(context: Context) -> bool:
    """Whether more than the teacher and its scores were made of the data."""
    study = study_of(context) if context.settings.searches else None
    # A search that has begun chooses its first candidates by them.
    begun = study is not None and study.user_attrs.get(FINGERPRINTS) is not None
    return bool(_depends(context)) or begun


def drop_teacher(run: Run) -> None:
    """Removes the run's fine-tuned teacher and what was found out about it and the data.

    What a student learnt of it in its short training goes, too.
    """
    for name in ("teacher", "work"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
    made = [run.folder / "steps" / f"{step}.json" for step in OF_THE_DATA]
    for file in (*run.folder.glob(TRANSFER_FILES), *made):
        file.unlink(missing_ok=True)


def check_limits(context: Context, inputs: Inputs) -> None:
    """Raises KdnasError where no candidate can meet the limits, before the teacher is trained.

    What the run knows to be in reach is not timed again: that could refuse a run that goes on.
    """
    study = study_of(context) if context.settings.searches else None
    if study is not None and has_score(study):  # one of its trials kept them
        return
    limits, fastest = _asked_limits(context, inputs)
    if (limits or fastest.speedup) and not _within_reach(context, inputs).done():
        _time_limits(context, inputs, limits, fastest)


def keep_limits(context: Context, inputs: Inputs) -> None:
    """Keeps in a run that its limits were found to be in reach."""
    limits, fastest = _asked_limits(context, inputs)
    if limits or fastest.speedup:
        _within_reach(context, inputs).get(dict)


def _asked_limits(context: Context, inputs: Inputs) -> tuple[Limits, Pruning]:
    """The limits of a run, and the pruning that has to reach the highest speed-up."""
    settings = context.settings
    asked = () if settings.searches else inputs.space.prunings  # a search may do without
    return Limits.of(settings), max(asked, key=lambda one: one.speedup, default=NOT_PRUNED)


def _within_reach(context: Context, inputs: Inputs) -> Artifact[dict[str, Any]]:
    """Done where a run's limits, of these shapes so timed, were found to be in reach."""
    settings, space = context.settings, inputs.space
    limits, fastest = _asked_limits(context, inputs)
    shapes = (space.teacher, *least_shapes(space))
    key = {
        "limits": asdict(limits),
        "pruning": fastest.params,
        "shapes": [shape.params for shape in shapes],
        "vocabularies": [*space.vocabularies],
        "timed": [settings.latency_batch, settings.latency_length, settings.latency_runtime],
    }
    return context.run.step("limits", key)


def _time_limits(context: Context, inputs: Inputs, limits: Limits, fastest: Pruning) -> None:
    """Refuses limits, or a pruning to a speed-up, that a teacher without training rules out."""
    settings, spec, space = context.settings, inputs.data.spec, inputs.space
    config = copy.deepcopy(inputs.config)
    config.update(spec.head_config)
    with torch.random.fork_rng(devices=[]):
        teacher = empty_student(config, space.teacher, spec.task_type).eval()
    teacher.to(context.runtime.device)  # type: ignore[arg-type]
    meter = CostMeter(teacher, settings, inputs.vocabularies)
    if fastest.speedup:
        check_prunable_to(fastest, space, meter)
    else:
        check_reachable(limits, space, meter)


def check_same_data(context: Context, data: RunData) -> None:
    """Raises KdnasError where the data are not those that the run began with, which it keeps."""
    if changed := changed_part(context, data):
        raise _other_data(context, changed)
    _record_of_data(context).get(lambda: _contents(data))


def changed_part(context: Context, data: RunData) -> str:
    """A part of the data that is not as it was when the run began; empty where none is known."""
    record = _record_of_data(context)
    before, now = record.read() if record.done() else {}, _contents(data)
    return next((name for name in now if before.get(name, now[name]) != now[name]), "")


def _needs_enough(context: Context) -> bool:
    """Whether a run that has begun chooses its student as runs did before that was recorded."""
    record = _record_of_data(context)
    return record.done() and CHOICE not in record.read()


def _record_of_data(context: Context) -> Artifact[dict[str, str]]:
    return context.run.step("data", {})


def _contents(data: RunData) -> dict[str, str]:
    """Fingerprints of the data, by part, and how the rows that choose a student are counted."""
    parts = {"train": data.train, "distillation": data.distillation, **data.evaluation}
    others = {"further": data.further, "selection": data.spare}
    parts |= {name: part for name, part in others.items() if part is not None}
    found = {name: part.fingerprint() for name, part in parts.items()}
    return found if data.needs_enough else {**found, CHOICE: "rows"}


def _other_data(context: Context, changed: str) -> KdnasError:
    return KdnasError(
        f"the {changed} data changed since {context.run.folder} began; restore the old files, or "
        "start another run with --out"
    )
