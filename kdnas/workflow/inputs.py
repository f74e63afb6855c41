"""What a run reads before it computes anything, and the checks that refuse bad input."""

from __future__ import annotations

import copy
import math
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from optuna.study import Study

from kdnas.config import Settings, every_recipe
from kdnas.config.groups import OF_FINE_TUNING, OF_FULL_KD, OF_SCORING, OF_THE_TEACHER
from kdnas.config.options.base import MOST_TRIALS
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact
from kdnas.recipes.run_data import RunData, prepare_data
from kdnas.recipes.transfer_set import reads_transfer
from kdnas.runs.context import Context
from kdnas.runs.run_folder import Run, resolve
from kdnas.runtime.console import say
from kdnas.runtime.device import device_named
from kdnas.scoring.costs import CostMeter
from kdnas.scoring.limits import Limits, check_prunable_to, check_reachable
from kdnas.scoring.scorers import find_scorer
from kdnas.space import Pruning, SearchSpace
from kdnas.space.given_shape import space_of_shape
from kdnas.space.pruning import AUTO, SPARSITIES, SPARSITY, gradually
from kdnas.students import empty_student
from kdnas.students.pruning.kept import prunable_family
from kdnas.students.static import check_static
from kdnas.study.optimize import expected_trials
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.storage import storage_url
from kdnas.study.study import evaluated, load_control, load_run_study
from kdnas.study.whole import CONTROL
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
from kdnas.workflow.count_jobs import check_jobs
from kdnas.workflow.early import task_data
from kdnas.workflow.recipes_on_offer import check_one_recipe, usable_recipes
from kdnas.workflow.vocabularies import Vocabularies, read_vocabularies

GPU_BATCH = 32
# The strongest of the methods (docs/pruning.md).
DEFAULT_METHOD = "ziplm"


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

    It is no longer than the teacher reads. On a GPU it is a batch as one would serve there: the
    time of a single example is that of launching kernels, the same for small and large models.
    """
    settings, changes = resolve(settings), dict[str, Any]()
    given = settings.model_fields_set
    with suppress(KdnasError):  # loading the teacher says it better, starting the device, too
        if "latency_batch" not in given and settings.latency_runtime == "torch":
            device = device_named(settings.device)
            if device.type != "cpu":
                changes["latency_batch"] = GPU_BATCH
                say(f"latency is measured at batch {GPU_BATCH} on {device} (--latency-batch)")
        if settings.base and "latency_length" not in given:
            longest = longest_input(load_config(settings.base))
            changes["latency_length"] = min(settings.latency_length, longest)
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
    data = prepare_data(task, settings, tokenizer, config)
    if settings.offered:
        space = space.with_recipes(usable_recipes(settings, space, data, config))
    space = space.with_vocabularies(settings.vocabulary_names)
    return Inputs(source, config, data, space, read_vocabularies(settings, data, config))


def space_of(settings: Settings, config: Any, source: str) -> SearchSpace:
    """What a search chooses from, or the one shape that is given, or how the teacher is pruned.

    Raises:
        KdnasError: The teacher is not a supported encoder, or has no such students.
    """
    if settings.architecture is not None:
        return space_of_shape(config, source, settings.shape)
    own = {name: values for name, values in settings.space.items() if name != SPARSITY}
    space = SearchSpace.from_teacher(config, source, own)
    if settings.searches and not settings.searches_pruned:
        if SPARSITY in settings.space:
            raise KdnasError(
                f"invalid space.{SPARSITY}: nothing is pruned; add --search-over shape,pruning"
            )
        return space
    prunable_family(config, repr(source))
    if settings.searches:
        return space.with_prunings(searched_prunings(settings))
    return space.with_prunings(asked_prunings(settings), dense=False)


def searched_prunings(settings: Settings) -> tuple[Pruning, ...]:
    """How candidates of a search may be pruned.

    Raises:
        KdnasError: A sparsity of `space` is out of range.
    """
    sparsities = settings.space.get(SPARSITY, SPARSITIES)
    wrong = [one for one in sparsities if isinstance(one, str) or not 0 < one < 1]
    if wrong or not sparsities:
        raise KdnasError(
            f"invalid space.{SPARSITY}: {wrong[0] if wrong else sparsities!r}; expected shares "
            "above 0 and below 1, such as [0.5, 0.8]"
        )
    method = settings.pruned or DEFAULT_METHOD
    return tuple(Pruning(method, sparsity=float(one)) for one in sorted(set(sparsities)))


def asked_prunings(settings: Settings) -> tuple[Pruning, ...]:
    """How the students of `kdnas distill --pruned` are pruned."""
    assert settings.pruned is not None
    if settings.speedups:
        return gradually(settings.pruned, settings.speedups)
    targets = settings.sparsity or 0.0, settings.speedup or 0.0
    auto = settings.assistants == AUTO
    assistants: Any = (AUTO,) if auto else settings.assistant_sparsities
    return (Pruning(settings.pruned, *targets, assistants=assistants),)


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
        check_one_recipe(settings, inputs.space, data, inputs.config)
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
            f"one shape, {settings.architecture}; leave --trials out"
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
    """Raises KdnasError where there is nothing to finish: no search, or no scored trial."""
    folder = context.run.folder
    if not context.settings.searches:
        raise KdnasError(f"{folder} has no search to finish; leave --finish out")
    study = _study_of(context)
    if study is None or not evaluated(study):
        raise KdnasError(f"{folder} has no finished trial yet to ship; leave --finish out")


def check_changes(context: Context) -> bool:
    """Whether a setting changed that the teacher was trained with.

    Raises:
        KdnasError: Settings changed that the scores of the study already depend on.
    """
    settings, run = context.settings, context.run
    before = Run.open(run.folder).settings

    def changed(name: str) -> bool:
        return bool(getattr(before, name) != getattr(settings, name))

    # Nothing depends on how a teacher would have been fine-tuned that had its head already.
    tuned = (run.folder / "teacher" / "config.json").exists()
    of_teacher = [name for name in OF_THE_TEACHER if tuned or name not in OF_FINE_TUNING]
    # Where predictions are scored, it is after a short run of the recipe.
    of_scoring = (*OF_SCORING, *(OF_FULL_KD if settings.scores_agreement else ()))
    names = [name for name in (*of_teacher, *of_scoring) if changed(name)]
    if names and (depends := _depends(context)):
        old, new = getattr(before, names[0]), getattr(settings, names[0])
        raise KdnasError(
            f"invalid --{names[0].replace('_', '-')} {new}: {depends} with {old} already; start "
            "another run with --out"
        )
    return any(map(changed, of_teacher))


def _depends(context: Context) -> str:
    """What was made with the settings of the teacher and of scoring; empty where nothing was."""
    folder = context.run.folder
    if context.settings.searches:
        return "the study's candidates were scored" if trials_spent(context) > 0 else ""
    begun = any((folder / name).exists() for name in ("work", "student", "controls"))
    return "the student was trained" if begun else ""


def drop_teacher(run: Run) -> None:
    """Removes the run's fine-tuned teacher and what was found out about it."""
    shutil.rmtree(run.folder / "teacher", ignore_errors=True)
    for step in ("teacher-outputs", "teacher-threshold", "evaluate-teacher"):
        (run.folder / "steps" / f"{step}.json").unlink(missing_ok=True)


def check_limits(context: Context, inputs: Inputs) -> None:
    """Raises KdnasError where no candidate can meet the limits, before the teacher is trained."""
    settings, spec, space = context.settings, inputs.data.spec, inputs.space
    limits = Limits(settings.speedup, settings.max_params)
    fastest = max((pruning.speedup for pruning in space.prunings), default=0.0)
    if limits or fastest:
        config = copy.deepcopy(inputs.config)
        config.update(spec.head_config)
        with torch.random.fork_rng(devices=[]):
            teacher = empty_student(config, space.teacher, spec.task_type).eval()
        teacher.to(context.runtime.device)  # type: ignore[arg-type]
        meter = CostMeter(teacher, settings, inputs.vocabularies)
        if fastest:
            check_prunable_to(fastest, space, meter)
        else:
            check_reachable(limits, space, meter)


def trials_left(context: Context, *, control: bool = False) -> float:
    """Whole trials that the search, or random search beside it, has still to pay for."""
    settings = context.settings
    off = control and (settings.random_control == "off" or settings.sampler == "random")
    if off or not settings.searches or search_end(context, control=control).done():
        return 0.0
    return max(0.0, settings.trials - trials_spent(context, control=control))


def search_end(context: Context, *, control: bool = False) -> Artifact[Any]:
    """That a search with a budget has ended, its own trials or those of random search."""
    settings = context.settings
    key = {"budget": settings.budget, "trials": settings.trials}
    return context.run.step(f"{'random-search' if control else 'search'}-ended", key)


def trials_spent(context: Context, *, control: bool = False) -> float:
    """What a study has spent, in whole trials; 0 where there is none."""
    settings, folder = context.settings, context.run.folder
    if not settings.searches:
        return 0
    study = _study_of(context)
    found = study
    if study and control:
        found = load_control(storage_url(settings.storage, folder), settings.study, CONTROL)
    pruner = SuccessiveHalvingPruner(1 if control else settings.rungs, settings.reduction)
    trials = found.get_trials(deepcopy=False) if found else []
    return pruner.spent(trials) / pruner.full_cost


def with_expected_trials(context: Context) -> Context:
    """The same for a worker's plan: with the trials that the search's time is expected to pay for.

    0 where its first process has not worked out when it ends.
    """
    settings, study = context.settings, _study_of(context)
    if settings.budget is None:
        return context
    trials = 0 if study is None else expected_trials(study, settings.trials)
    trials = trials if trials < MOST_TRIALS else 0
    return replace(context, settings=settings.model_copy(update={"trials": trials}))


def _study_of(context: Context) -> Study | None:
    """The run's study; None where there is none, or it cannot be read."""
    settings, folder = context.settings, context.run.folder
    try:
        return load_run_study(storage_url(settings.storage, folder), settings.study, folder)
    except KdnasError:
        return None


def check_same_data(context: Context, data: RunData) -> None:
    """Raises KdnasError where the data are not those that the run began with."""
    now = {"train": data.train, "distillation": data.distillation, **data.evaluation}
    now |= {} if data.further is None else {"further": data.further}
    found = {name: examples.fingerprint() for name, examples in now.items()}
    before = context.run.step("data", {}).get(lambda: found)
    for name, content in found.items():
        if before.get(name, content) != content:
            raise KdnasError(
                f"the {name} data changed since {context.run.folder} began; restore the old files, "
                "or start another run with --out"
            )
