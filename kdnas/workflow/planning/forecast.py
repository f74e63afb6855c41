"""What a command will do, said before it begins: data, steps, minutes, disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.config import Settings, every_recipe
from kdnas.files.disk import Disk
from kdnas.measure import count_params
from kdnas.recipes.pseudo_labels import reads_pseudo_labels, texts_left
from kdnas.runs.context import Context
from kdnas.runs.student import ASIDE
from kdnas.runtime.console import correct, following, say
from kdnas.runtime.formatting import (
    in_millions,
    several,
)
from kdnas.runtime.plan import Plan, Step
from kdnas.study.study import evaluated
from kdnas.teachers.load import Teacher
from kdnas.workflow.distilling.choose import GIVEN_ASIDE
from kdnas.workflow.distilling.measure import is_measured
from kdnas.workflow.planning.disk import disk_needed
from kdnas.workflow.planning.estimate import Estimate
from kdnas.workflow.planning.planned_facts import Facts, classes, column, planned_facts
from kdnas.workflow.planning.probe import probe
from kdnas.workflow.planning.shorter import TRIAL, by_work
from kdnas.workflow.planning.trainings import FINALIST, Kind, Training
from kdnas.workflow.preparing.check_teacher import SCORES, is_evaluated
from kdnas.workflow.preparing.count_jobs import count_jobs
from kdnas.workflow.preparing.epochs_left import as_trained
from kdnas.workflow.preparing.given_teacher import is_tuned
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.own_outputs import teachers_left
from kdnas.workflow.preparing.prepare import is_tuned_in_cache, needs_signal, tuned_from_cache
from kdnas.workflow.preparing.pruned import LATENCY_TABLE, to_be_measured
from kdnas.workflow.preparing.selection_rows import for_students
from kdnas.workflow.preparing.trials_spent import trials_left, trials_spent
from kdnas.workflow.searching.allot import Allotment, allot
from kdnas.workflow.searching.screening import SCREENING

DISTIL, TRAININGS, OF_RANDOM = "distil student", "trainings", "distil random-search"
LABELS_STEP = "control "  # how the names of steps begin that train on labels alone
# Steps of a kind are corrected together; all others are trainings of students.
KINDS = {Kind.IMPORTANCE: "pruning", Kind.REPORT: "report"}


@dataclass(frozen=True)
class Forecast:
    """A plan with what it is about."""

    facts: Facts
    plan: Plan
    disks: list[Disk]
    left_out: Sequence[Step] = ()  # what its time is too short for
    trial: float = math.inf  # seconds that a trial takes one worker

    @property
    def described(self) -> dict[str, Any]:
        """As plain values, for --json."""
        disks = [{**asdict(disk), "folder": str(disk.folder)} for disk in self.disks]
        left_out = [step.name for step in self.left_out]
        known = {**asdict(self.facts), **self.plan.described, "disk": disks}
        return {**known, "left_out": left_out}

    @property
    def lines(self) -> list[str]:
        """For people, at most 80 columns wide."""
        facts, plan = self.facts, self.plan
        if not plan.steps:
            return [plan.headline]
        of = "" if facts.budget is None else f" of --budget {facts.budget}"
        rows = ", ".join(f"{count:,} {name}" for name, count in facts.rows.items())
        tuned = ", to be fine-tuned" if facts.tunes_teacher else ""
        tuned = ", fine-tuned before: in the cache" if facts.tuned_in_cache else tuned
        parts = {
            "task": f"{facts.task}{classes(facts.classes)}",
            "rows": rows,
            "teacher": f"{facts.teacher}, {in_millions(facts.teacher_params)} parameters{tuned}",
            **facts.students,
        }
        told = [line for label, text in parts.items() for line in column(label, text)]
        disks = [line for disk in self.disks for line in disk.lines]
        titles = ", ".join(step.title for step in self.left_out)
        short = column("no time", f"for {titles}") if titles else []
        return [f"{plan.headline}{of}", *told, *plan.lines, *short, *disks]


def forecast(
    context: Context,
    inputs: Inputs,
    given: Teacher,
    *,
    searches: bool = True,
    students: Sequence[Training] = (),
    trainings: int = 0,
    retrain_teacher: bool = False,
    spent: Callable[[], float] | None = None,
) -> Forecast:
    """Plans what is still to do, after measuring how fast this machine is.

    Args:
        context: Of the run.
        inputs: Its data and space.
        given: The teacher as it was loaded.
        searches: Whether candidates are tried.
        students: Those to be trained for a report, with their assistants.
        trainings: Students to be trained in full beside those.
        retrain_teacher: Whether its fine-tuned teacher is of other settings or data.
        spent: Tells the seconds of the run's budget that are over, of which measuring takes some;
            None where it does not limit this.

    Raises:
        KdnasError: The budget is too short for one trial and its student.
    """
    tune, cached = _is_to_be_tuned(context, inputs, given, retrain_teacher)
    left, random = _trials_to_come(context, inputs) if searches else (0.0, 0.0)
    trained = as_trained(context).settings
    missing = [one for one in students if left > 0 or not one.is_made(trained)]
    trains = bool(left or random or missing or trainings)
    params = count_params(given.model)
    jobs = count_jobs(context, math.ceil(max(left, random)), params)
    beside = count_jobs(context, len(missing), params)
    work = {"tune": tune and not cached, "trains": trains, "beside": beside > 1}
    speeds = probe(context, inputs, given, **work)
    unwritten = _unwritten(context, inputs, given, tune=tune, cached=cached) if trains else 1.0
    folds = teachers_left(context, inputs) if trains else 0
    estimate = Estimate(context, inputs, speeds, jobs, unwritten, folds)
    signal = bool(left or random or missing)
    scored = is_evaluated(context, inputs) and not retrain_teacher
    scores = (tune or given.has_head) and not scored
    stores = signal and needs_signal(context.settings, inputs.space)
    known = {"cached": cached, "signal": signal, "stores": stores, "scores": scores}
    before = _before(context, estimate, tune=tune, **known)
    there = (one for one in students if one.is_student and one not in missing)
    made = {one.place for one in there if not one.step.startswith(FINALIST)}
    unmeasured = sum(not _is_measured(context, place) for place in made)
    todo = Allotment(left, random, _students(estimate, missing, beside))
    screens = left > 0 and not trials_spent(context)
    if spent is not None and (left or random or missing):
        warm = estimate.warm_start(left) if screens else 0.0
        todo = _allotted(context, estimate, todo, before, warm, spent(), unmeasured)
    to_train = sum(step.kind == "student" for step in todo.students)
    steps = [*before, *_in_order(estimate, todo, screens=screens)]
    if students:
        steps.append(_report(estimate, unmeasured + to_train - _reported_elsewhere(missing)))
    if trainings:
        steps.append(_trainings(estimate, trainings))
    count = to_train + bool(trainings)
    disks = disk_needed(context, inputs, given, tunes=tune, students=count)
    tuning = {"tunes_teacher": tune and not cached, "tuned_in_cache": cached}
    facts = planned_facts(context, inputs, given, todo.trials, tuning)
    each = estimate.one_trial() if context.settings.searches else math.inf
    return Forecast(facts, Plan(steps), disks, todo.left_out, each)


def _is_to_be_tuned(
    context: Context, inputs: Inputs, given: Teacher, afresh: bool
) -> tuple[bool, bool]:
    """Whether the teacher is still to be fine-tuned, and whether the cache has it fine-tuned."""
    there = (context.run.folder / "teacher" / "config.json").exists() and not afresh
    tune = not there and is_tuned(context, inputs, given)
    return tune, tune and is_tuned_in_cache(context, inputs, given)


def _unwritten(
    context: Context, inputs: Inputs, given: Teacher, *, tune: bool, cached: bool
) -> float:
    """The share of the teacher's pseudo-labels that is still to be written."""
    recipes = every_recipe(context.settings).values()
    if (tune and not cached) or not any(map(reads_pseudo_labels, recipes)):
        return 1.0
    teacher = tuned_from_cache(context, inputs, given) if tune else given
    rows = for_students(inputs.data, context.settings).train
    return texts_left(teacher, rows, context.runtime) / max(1, len(rows))


def _trials_to_come(context: Context, inputs: Inputs) -> tuple[float, float]:
    """Trials that are left of the search and of random search."""
    space = inputs.space
    return trials_left(context, space=space), trials_left(context, control=True, space=space)


def _reported_elsewhere(missing: Sequence[Training]) -> int:
    """How many of the students to be trained stand in a report of their own."""
    reported = {str(one.place.parent) for one in missing if one.kind is Kind.REPORT}
    return sum(one.is_student and one.group in reported for one in missing)


def _report(estimate: Estimate, unmeasured: int) -> Step:
    """The run's report, with so many models to be measured."""
    parts = {"report": estimate.report(unmeasured)}
    return Step("report", "evaluate and report", parts, "report")


def _trainings(estimate: Estimate, count: int) -> Step:
    """Trainings in full that stand in no report."""
    seconds = count * sum(estimate.recipe(signal=False).values())
    title = several(count, "training") + " in full"
    return Step(TRAININGS, title, {TRAININGS: seconds}, "student")


def _in_order(estimate: Estimate, todo: Allotment, *, screens: bool) -> list[Step]:
    """Trials and trainings as a run does them: finalists before random search, controls last.

    What can be trained beside a single finalist is.
    """
    full = _labels_last(todo.students)
    own = next((i + 1 for i, step in enumerate(full) if step.name == DISTIL), 0)
    together = own and full[own - 1].jobs > 1 and estimate.settings.finalists == 1
    others = full[own:]
    first = [step for step in others if _is_early(step, together=bool(together))]
    return [
        *_trials("search", todo.trials, estimate, screens=screens),
        *full[:own],
        *first,
        *_trials("random search", todo.random, estimate),
        *(step for step in others if step not in first),
    ]


def _labels_last(full: Sequence[Step]) -> list[Step]:
    """Trainings as `train_all` does those of each report.

    Labels alone, which take less, come last of those that run side by side.
    """
    reports = groupby(full, key=lambda step: step.kind)  # steps of other kinds lie between them
    return [
        step
        for _, some in reports
        for step in sorted(some, key=lambda one: one.jobs > 1 and one.name.startswith(LABELS_STEP))
    ]


def _is_early(step: Step, *, together: bool) -> bool:
    """Whether a training comes before random search; `together` with the only finalist's."""
    if together:
        return not step.name.startswith(OF_RANDOM)
    return step.name.startswith(FINALIST)


def _is_measured(context: Context, place: Path) -> bool:
    """Whether a student has its scores; the run's own is aside while a control ships."""
    asides = (ASIDE, GIVEN_ASIDE) if place.name == "student" else ()
    return any(is_measured(context, at) for at in (place, *(place.parent / one for one in asides)))


def _before(
    context: Context,
    estimate: Estimate,
    *,
    tune: bool,
    cached: bool,
    signal: bool,
    stores: bool,
    scores: bool,
) -> list[Step]:
    """What comes before the search: the teacher, its scores, what of it is pruned, its outputs."""
    title = "store the teacher's outputs"
    pruning = to_be_measured(context, estimate.prunings, afresh=tune) if signal else []
    parts = {LATENCY_TABLE: estimate.latency_table}
    name = "copy the fine-tuned teacher" if cached else "fine-tune the teacher"
    return [
        *([Step("teacher", name, estimate.teacher(), "teacher")] * tune),
        *([Step(SCORES, "score the teacher", estimate.teacher_scores(), "teacher")] * scores),
        *(Step(n, n, parts.get(n, estimate.importance)(), "pruning") for n in pruning),
        *([Step("signal", title, estimate.signal(), "signal")] * stores),
    ]


def _allotted(
    context: Context,
    estimate: Estimate,
    wanted: Allotment,
    before: Sequence[Step],
    warm: float,
    spent: float,
    unmeasured: int,
) -> Allotment:
    """What there is time for after the steps `before` and the `warm` start's seconds.

    Some students are there, `unmeasured`.
    """
    settings, seconds = context.settings, context.settings.budget_seconds
    needed = int(any(step.name == DISTIL for step in wanted.students[:1]))
    parts = [*(step.parts for step in (*before, *wanted.students[:needed])), {SCREENING: warm}]
    parts += [{TRIAL: estimate.trial()}, estimate.report_parts(unmeasured + needed)]
    done = (trials_spent(context), trials_spent(context, control=True))
    return allot(
        seconds - spent,
        seconds,
        before=sum(step.seconds for step in before) + warm,
        trial=estimate.trial(),
        students=wanted.students,
        report=lambda count: estimate.report(unmeasured + count),
        needed=needed,
        done=done,
        most=min(float(settings.trials), done[0] + wanted.trials),
        control=wanted.random > 0,
        begun=done[0] > 0,
        work=by_work(parts, settings),
    )


def _trials(name: str, left: float, estimate: Estimate, *, screens: bool = False) -> list[Step]:
    if not left:
        return []
    title = f"{name}, {several(math.ceil(left), 'trial')}"
    parts = {SCREENING: estimate.warm_start(left)} if screens else {}
    return [Step(name, title, {**parts, name: left * estimate.trial()}, "trial")]


@contextmanager
def follow(told: Forecast) -> Iterator[None]:
    """Says a plan, and where its job is in it."""
    for line in told.lines:
        say(line)
    with following(told.plan):
        yield


def foresee(study: Study, winner: FrozenTrial, settings: Settings, epochs: float) -> None:
    """Corrects what students should take, now that it is known which one is trained in full.

    It has `epochs` times as many as the plan counted.
    """
    correct("student", epochs * share_of_time(study, winner, settings))


def share_of_time(study: Study, trial: FrozenTrial, settings: Settings) -> float:
    """How much longer a trial took than one of the usual student would have (`usual_shape`).

    Within a speed-up that is as large as can be, as the longest trial was; else it is the average.
    """
    times = [float(t.user_attrs["seconds"]) for t in evaluated(study)]
    own = trial.user_attrs.get("seconds")
    usual = max if settings.speedup is not None else fmean
    return float(own) / usual(times) if own and times else 1.0


def _students(estimate: Estimate, students: Sequence[Training], jobs: int) -> list[Step]:
    """The trainings in full that are still to come, and what they need."""
    found, groups = list[Step](), Counter(one.group for one in students if one.group)
    for one in students:
        signal = not any(step.kind == "student" for step in found)
        step = Step(
            *(one.step, one.title, _parts(estimate, one, students, signal=signal)),
            kind=KINDS.get(one.kind, "student"),
            jobs=min(jobs, groups.get(one.group, 1)),
            slower=estimate.speeds.one_thread,
        )
        found.append(step)
    return found


def _parts(
    estimate: Estimate, one: Training, students: Sequence[Training], *, signal: bool
) -> dict[str, float]:
    """Seconds by part of one of some trainings, or of what belongs to them."""
    if one.kind is Kind.REPORT:
        group = str(one.place.parent)
        return {"report": estimate.report(sum(other.group == group for other in students))}
    if one.kind is Kind.LABELS:
        return estimate.labels_alone(one.share)
    if one.kind is Kind.IMPORTANCE:
        return estimate.importance()
    if one.kind is Kind.SANDWICH:
        return estimate.sandwich(signal=signal)
    layered = one.kind is Kind.LAYERED
    return estimate.recipe(signal=signal, share=one.share, layered=layered)
