"""Steps 1 and 3: a teacher that knows its task, its signal, and what scores candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from kdnas.config import Settings, settings_of
from kdnas.distillation.schedule import Schedule
from kdnas.files.artifact import Artifact
from kdnas.files.curves import Curves
from kdnas.files.locks import file_lock
from kdnas.recipes.full import RecipeRun
from kdnas.recipes.stages import (
    load_general_teacher,
    prepare_stage_resources,
    teacher_schedule,
)
from kdnas.runs.context import Context
from kdnas.runtime.console import say, silently
from kdnas.runtime.device import Runtime
from kdnas.scoring.costs import CostMeter, Costs
from kdnas.scoring.evaluate import Evaluate, evaluate_candidate
from kdnas.scoring.limits import Limits
from kdnas.scoring.mini_kd import MiniKD, states_for
from kdnas.scoring.proxy import Proxy, split_heldout
from kdnas.scoring.reward import candidate_reward
from kdnas.scoring.scorer import Scorer
from kdnas.scoring.scorers import make_scorer
from kdnas.space import Candidate, SearchSpace
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.space.pruned import LAYERS_KEY
from kdnas.students.pruning import PrunedStudents
from kdnas.tasks.encode import EncodedExamples, Indices
from kdnas.teachers.cache import fingerprint
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.fine_tune import fine_tune_teacher, from_cache, in_cache
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.teachers.store import SignalStore, open_or_build_store
from kdnas.workflow.preparing.check_teacher import check_teacher, fit_outputs, fit_threshold
from kdnas.workflow.preparing.given_teacher import with_own_head
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.own_outputs import own_outputs
from kdnas.workflow.preparing.pruned import measure_pruning, pruned_students
from kdnas.workflow.preparing.selection_rows import for_students
from kdnas.workflow.preparing.vocabularies import ScoredRows, respelled_rows, scored_rows


@dataclass(frozen=True)
class Prepared:
    """What steps 4 to 7 work with."""

    context: Context
    inputs: Inputs
    teacher: Teacher  # fine-tuned on the task, on the runtime's device
    mini: MiniKD  # trains candidates briefly on the proxy
    scorer: Scorer  # mini-KD by default
    meter: CostMeter  # measures students beside the teacher
    full: Callable[[str], RecipeRun]  # by recipe, what it reads in full; made at the first call
    rows: Callable[[str], ScoredRows]  # by vocabulary, what its students are scored on; likewise

    @property
    def evaluate(self) -> Evaluate:
        """Gives candidates their costs, scores and rewards."""
        return self.evaluate_with(self.meter.of_candidate)

    def evaluate_with(self, measure: Callable[[Candidate], Costs]) -> Evaluate:
        """The same with costs that something else measures."""
        settings, meter = self.context.settings, self.meter
        return partial(
            evaluate_candidate,
            scorer=self.scorer,
            measure=measure,
            limits=Limits.of(settings),
            reward=partial(candidate_reward, meter=meter),
            shape_of=meter.shape_of,
        )


def prepare(context: Context, inputs: Inputs, given: Teacher) -> Prepared:
    """Steps 1 and 3, from the teacher that `load_given_teacher` loaded."""
    settings = context.settings
    teacher = prepare_teacher(context, inputs, given)
    check_teacher(context, inputs, teacher)
    own = inputs.vocabularies
    meter = CostMeter(teacher.model, settings, own)
    pruned = prepare_pruned(context, inputs, teacher, meter)
    if pruned:
        meter = CostMeter(teacher.model, settings, own, pruned.shape)
    mini = prepare_mini_kd(context, inputs, teacher, pruned)
    scorer = prepare_scorer(context, mini, meter)
    # Workers, and searches that are not done yet, need no transfer set.
    general = mini.general.teacher if mini.general else None
    full = cache(lambda recipe: prepare_full_kd(context, inputs, teacher, recipe, general, pruned))
    rows = cache(lambda name: rows_of(context, inputs, name))
    return Prepared(context, inputs, teacher, mini, scorer, meter, full, rows)


def rows_of(context: Context, inputs: Inputs, vocabulary: str) -> ScoredRows:
    """What students with a vocabulary are scored on."""
    own = inputs.vocabularies[vocabulary]
    return scored_rows(inputs.data, context.settings, own, inputs.config)


def prepare_teacher(context: Context, inputs: Inputs, given: Teacher) -> Teacher:
    """Step 1: the teacher, fine-tuned unless it knows the task or must stay as it is.

    Its outputs are in standard units from here on.

    Raises:
        KdnasError: Another order of its outputs fits the labels far better.
    """
    run, settings, data = context.run, context.settings, inputs.data
    folder, teacher = run.folder / "teacher", given
    # A worker that joins meanwhile waits for this teacher rather than train another.
    with file_lock(run.folder / ".teacher.lock", "another process prepares this run's teacher"):
        if (folder / "config.json").exists():  # another process may have made it meanwhile
            if given.name != str(folder):
                teacher = load_teacher(str(folder), data.spec)
        else:
            source_fingerprint(context, inputs).get(
                lambda: fingerprint(given, data.train, data.distillation)
            )
            teacher = with_own_head(context, inputs, teacher)
            if settings.fine_tune or not (teacher.gives_logits or settings.teacher_as_is):
                schedule, train = teacher_schedule(settings), _rows_for_teacher(context, inputs)
                with run.timed("teacher"):
                    say(f"fine-tuning the teacher on {len(train)} examples")
                    record = Curves(run.folder).record
                    # Its own folder has the threshold, too: people score it and label with it.
                    finish = partial(fit_threshold, context, inputs, teacher)
                    how = (schedule, context.runtime, folder, record, finish)
                    fine_tune_teacher(teacher, train, *how)
    tuned = (folder / "config.json").exists()
    teacher.name = inputs.source
    # Of a student that was pruned before: for this run's it is the whole teacher.
    vars(teacher.model.config).pop(LAYERS_KEY, None)
    fit_outputs(context, inputs, teacher, given=not tuned)
    fit_threshold(context, inputs, teacher)
    teacher.model.to(context.runtime.device)  # type: ignore[arg-type]
    return teacher


def is_tuned_in_cache(context: Context, inputs: Inputs, given: Teacher) -> bool:
    """Whether the cache has the teacher that `prepare_teacher` is about to fine-tune."""
    return in_cache(*_tuning(context, inputs, given))


def tuned_from_cache(context: Context, inputs: Inputs, given: Teacher) -> Teacher:
    """That teacher, where the cache has it."""
    return from_cache(*_tuning(context, inputs, given))


def _tuning(
    context: Context, inputs: Inputs, given: Teacher
) -> tuple[Teacher, EncodedExamples, Schedule, Runtime]:
    """What is fine-tuned on which rows, and how."""
    with silently():
        teacher = with_own_head(context, inputs, given)
    schedule, train = teacher_schedule(context.settings), _rows_for_teacher(context, inputs)
    return teacher, train, schedule, context.runtime


def _rows_for_teacher(context: Context, inputs: Inputs) -> EncodedExamples:
    """What a teacher is fine-tuned on; a threshold is chosen on rows that are new to it."""
    data = inputs.data
    if data.spec.task_type.has_threshold:
        return for_students(data, context.settings).train
    return data.train


def source_fingerprint(context: Context, inputs: Inputs) -> Artifact[str]:
    """The fingerprint of the teacher before its fine-tuning, and of the data."""
    key = {"teacher": inputs.source}
    if context.settings.label_map:
        key["label_map"] = context.settings.label_map
    return context.run.step("fingerprint", key)


def prepare_pruned(
    context: Context, inputs: Inputs, teacher: Teacher, meter: CostMeter
) -> PrunedStudents | None:
    """What makes pruned students, where the space has any; what they need is measured now.

    Raises:
        MissedLimitError: No pruning reaches a speed-up.
    """
    if not inputs.space.prunings:
        return None
    students = pruned_students(context, inputs, teacher, meter)
    for pruning in (p for p in inputs.space.prunings if not p.after):
        measure_pruning(context, students, pruning)
    return students


def prepare_mini_kd(
    context: Context, inputs: Inputs, teacher: Teacher, pruned: PrunedStudents | None = None
) -> MiniKD:
    """Step 3: mini-KD on the proxy, with the teacher's signal for it where that is needed."""
    settings, data = context.settings, inputs.data
    proxy = data.distillation.take(data.proxy)

    @cache
    def store() -> SignalStore:
        states = states_for(inputs.space, teacher, settings)
        with context.run.timed("signal"):
            return open_or_build_store(teacher, proxy, states, context.runtime)

    training, heldout = split_heldout(proxy, settings.heldout_fraction, settings.seed)
    respelled = {}
    if settings.scores_agreement:
        respelled = respelled_rows(data, inputs.vocabularies, heldout)
    seen = Proxy(proxy, store, training, heldout, respelled)
    record, general = Curves(context.run.folder).record, None
    if needs_signal(settings, inputs.space):
        store()  # now: processes that train side by side share it
        general = general_signal(context, inputs, proxy, training)
    own = (record, general, pruned, inputs.space.every_recipe)
    return MiniKD(teacher, seen, settings, context.runtime, *own)


def needs_signal(settings: Settings, space: SearchSpace) -> bool:
    """Whether students train on the proxy: in a search, or before a recipe that goes on from it."""
    recipes = (settings_of(settings, recipe) for recipe in space.every_recipe)
    return settings.searches or any(recipe.follows_mini_kd for recipe in recipes)


def general_signal(
    context: Context, inputs: Inputs, proxy: EncodedExamples, training: Indices
) -> DistillationData | None:
    """The general teacher's signal for what short runs train on, where a stage needs it."""
    settings, space = context.settings, inputs.space
    offered = [settings_of(settings, recipe) for recipe in space.every_recipe]
    if not any(stage.is_general for own in offered for stage in own.short_stages):
        return None
    teacher = load_general_teacher(settings, context.runtime)
    states = states_for(space, teacher, settings, general=True)
    with context.run.timed("signal general"):
        store = open_or_build_store(teacher, proxy, states, context.runtime)
    signal, statistics = store.subset(training), store.statistics(proxy.task_type)
    return DistillationData(teacher, proxy.take(training), signal, statistics)


def prepare_scorer(context: Context, mini: MiniKD, meter: CostMeter) -> Scorer:
    """The run's scorer, on the same proxy as mini-KD, of students as the meter measures them."""
    settings = context.settings
    if settings.scorer == "mini-kd":
        return mini
    record = Curves(context.run.folder).record
    given = (settings.scorer, mini.teacher, mini.proxy, settings, context.runtime, record)
    return make_scorer(*given, untrained=meter.untrained)


def prepare_full_kd(
    context: Context,
    inputs: Inputs,
    teacher: Teacher,
    recipe: str = DEFAULT_RECIPE,
    general: Teacher | None = None,
    pruned: PrunedStudents | None = None,
) -> RecipeRun:
    """What a recipe reads: a general teacher and a transfer set where stages need them.

    `general` is that teacher, where it is loaded already; `pruned` makes pruned students.
    """
    run, runtime = context.run, context.runtime
    data = for_students(inputs.data, context.settings)
    settings = settings_of(context.settings, recipe)
    resources = prepare_stage_resources(settings, run, data, teacher, runtime, general)
    outputs = own_outputs(context, inputs, teacher, settings)
    resources = replace(resources, outputs=outputs)
    record, whole = Curves(run.folder).record, inputs.space.teacher
    return RecipeRun(settings, run, runtime, resources, whole, record, pruned)
