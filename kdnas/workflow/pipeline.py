"""The whole way, from a teacher and a task to a student and a report.

Each step leaves an artifact in the run folder; resuming a run is taking the steps again, and an
artifact that is there is loaded, not made.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from optuna.study import Study

from kdnas.report import Report, write_report
from kdnas.report.family import family_of, with_exports
from kdnas.runs.clock import run_clock, time_spent
from kdnas.runs.context import Context
from kdnas.runs.time_budget import TimeBudget
from kdnas.runs.tracking import tracking
from kdnas.runtime.console import say, step
from kdnas.study.join import forget_teacher, keep
from kdnas.study.rebuild import rebuild_study
from kdnas.study.rows import row_of
from kdnas.study.whole import check_searches, check_whole
from kdnas.study.winner import Winner
from kdnas.teachers.load import Teacher
from kdnas.workflow.distilling.check_assistants import check_assistants
from kdnas.workflow.distilling.choose import (
    Choice,
    aside_of,
    best_seed,
    checkpoint_of,
    choose_student,
    ship,
)
from kdnas.workflow.distilling.finalists import distil_finalists, expected_finalists
from kdnas.workflow.distilling.measure import make_report
from kdnas.workflow.distilling.seeds import seeds_of
from kdnas.workflow.distilling.train_students import train_students
from kdnas.workflow.planning.forecast import (
    Forecast,
    follow,
    forecast,
)
from kdnas.workflow.planning.planned_facts import without_effect
from kdnas.workflow.planning.time_left import within_time
from kdnas.workflow.planning.trainings import (
    REPORT,
    Training,
    before_training,
    most_finalists,
    report_before,
    trained_in_full,
)
from kdnas.workflow.preparing.epochs_left import as_trained
from kdnas.workflow.preparing.inputs import (
    Inputs,
    changed_of_teacher,
    check_changes,
    check_has_trials,
    check_inputs,
    check_limits,
    check_same_data,
    check_total,
    drop_teacher,
    keep_limits,
    load_given_teacher,
    read_inputs,
)
from kdnas.workflow.preparing.prepare import Prepared, prepare
from kdnas.workflow.preparing.pruned import home_of_pruned, measure_pruning, outdate_trained
from kdnas.workflow.preparing.run_space import asked_candidates
from kdnas.workflow.preparing.trials_spent import trials_left, with_expected_trials
from kdnas.workflow.remember import remember_finalists
from kdnas.workflow.searching.learn_from import check_lessons
from kdnas.workflow.searching.search import finish_search, open_run_study, random_search, search


@dataclass(frozen=True)
class _Ready:
    """A run whose input was checked; nothing is computed or written yet."""

    context: Context
    inputs: Inputs
    given: Teacher
    changed: bool  # whether its fine-tuned teacher is of other settings or data
    forecast: Forecast


def find_student(
    context: Context, *, rebuild: bool = False, finish: bool = False, began: float | None = None
) -> Report:
    """The seven steps; with `rebuild`, a lost or damaged study is first made again.

    Where the student's shape is given, there is no study and no step 4. With `finish`, no further
    trial is tried: the best so far is distilled, however much of --budget is over. The time of
    --budget counts from `began` on, by `time.monotonic`; default: from now on.

    Raises:
        KdnasError: Bad input or a lost study, before anything is computed; or no candidate meets
            the limits.
    """
    run = context.run
    with run.alone():
        spent = time_spent(run, began)
        ready = _check(context, rebuild=rebuild, finish=finish, spent=spent)
        with run_clock(run, spent):  # what is refused changes nothing, nor does it take time
            return _find(ready, finish=finish)


def _find(ready: _Ready, *, finish: bool) -> Report:
    """The seven steps of a run that was checked."""
    context, inputs = ready.context, ready.inputs
    run, settings = context.run, context.settings
    study = open_run_study(context, inputs.space) if settings.searches else None
    if ready.changed:
        drop_teacher(run)
        if study:
            forget_teacher(study)
    run.save()
    keep_limits(context, inputs)
    say(f"run folder: {run.folder}")
    with follow(ready.forecast), tracking(settings, run.folder) as track:
        run.log("machine", host=platform.node(), **context.runtime.describe())
        check_same_data(context, inputs.data)  # from here on things are made of them

        prepared = prepare(context, inputs, ready.given)  # 1 teacher, 2 space, 3 signal
        track.curves()
        winner, random = Winner(asked_candidates(inputs.space)[-1]), None
        before: dict[str, Report] = {}
        if study:
            (finish_search if finish else search)(prepared, study)  # 4 search
            track.trials(row_of(trial, settings) for trial in study.get_trials(deepcopy=False))
            prepared = within_time(prepared, study)
            winner = distil_finalists(prepared, study)
            random = random_search(prepared, study, finish=finish)
            track.curves()
        else:
            before = _deliver_before(prepared)
        report = deliver(  # 5 distil, 6 evaluate, 7 report
            *(prepared, study, random, winner),
            *(run.folder, speedup_asked(context, winner), before),
        )
        track.results({name: model.scores for name, model in report.models})
        return report


def _deliver_before(prepared: Prepared) -> dict[str, Report]:
    """The reports, by folder, of the pruned students that the last one is pruned from."""
    found, run = dict[str, Report](), prepared.context.run
    for candidate in prepared.inputs.space.candidates[:-1]:
        home = home_of_pruned(prepared.context, candidate.pruning)
        name, speedup = home.relative_to(run.folder).as_posix(), candidate.pruning.speedup
        [planned] = report_before(prepared.context, home)
        found[name] = deliver(
            *(prepared, None, None, Winner(candidate), home, speedup), step_name=planned.step
        )
    return found


def speedup_asked(context: Context, winner: Winner) -> float | None:
    """The speed-up that a run asks for, if any; a search prunes to it with a margin."""
    settings = context.settings
    if settings.searches:
        return settings.speedup
    return winner.candidate.pruning.speedup or settings.speedup


def plan_search(context: Context, *, finish: bool = False) -> Forecast:
    """What `find_student` would do; nothing is computed beyond a few measured steps.

    As there, reading and measuring take some of the time of --budget.

    Raises:
        KdnasError: Bad input or a lost study.
    """
    with context.run.looked_at():
        return _check(context, finish=finish, spent=time_spent(context.run)).forecast


def _check(
    context: Context,
    *,
    rebuild: bool = False,
    finish: bool = False,
    spent: Callable[[], float] = lambda: 0.0,
) -> _Ready:
    run = context.run
    if rebuild:
        check_searches(run)
    else:
        check_whole(run)
    inputs = read_inputs(context)
    if rebuild:
        rebuild_study(run, inputs.space)
        context = replace(context, settings=run.settings)
    check_inputs(context, inputs)
    check_total(context)
    check_lessons(context, inputs.space)
    changed = check_changes(context, inputs.data)
    given = load_given_teacher(context, inputs, afresh=changed)
    tuned = (run.folder / "teacher" / "config.json").exists() and not changed
    if not (tuned or run.seconds()) and (told := without_effect(context, inputs, given)):
        say(told)
    check_limits(context, inputs)
    if finish:
        check_has_trials(context)
    students = _asked_trainings(context, inputs, finish=finish)
    over = spent if context.settings.budget and not finish else None
    retrain: Any = {"students": students, "retrain_teacher": changed}
    made = forecast(context, inputs, given, searches=not finish, spent=over, **retrain)
    seconds = math.inf if finish else context.settings.budget_seconds
    budget = TimeBudget(seconds, spent, made.plan, made.left_out, made.trial)
    return _Ready(replace(context, time=budget), inputs, given, changed, made)


def _asked_trainings(context: Context, inputs: Inputs, *, finish: bool) -> list[Training]:
    """The students that a run trains in full: a search's, or all that are asked for.

    Raises:
        KdnasError: An assistant cannot teach.
    """
    found = list[Training]()
    if context.settings.searches:
        most = most_finalists(context, inputs.space, finish=finish)
        over, own = finish or not trials_left(context, space=inputs.space), as_trained(context)
        chosen = expected_finalists(own) if over else ()
        return trained_in_full(own, context.run.folder, most=most, chosen=chosen)
    for candidate in asked_candidates(inputs.space):
        check_assistants(context, inputs, candidate)
        home = home_of_pruned(context, candidate.pruning)
        found += before_training(context, inputs.space.teacher, candidate)
        found += trained_in_full(context, home, candidate.assistants, candidate.pruning)
        found += report_before(context, home)
    return found


def deliver(
    prepared: Prepared,
    study: Study | None,
    random: Study | None,
    winner: Winner,
    home: Path,
    speedup: float | None,
    before: Mapping[str, Report] = MappingProxyType({}),
    step_name: str = REPORT,
) -> Report:
    """A student with its controls (step 5), measurements (step 6) and the report (step 7).

    In the run folder, the best of all students trained in full ships.

    Args:
        prepared: Of the run.
        study: The search's, if there was one.
        random: That of random search, if there is one.
        winner: The student; one that is distilled already is not trained again.
        home: Gets the controls and the report beside `student/`.
        speedup: The limit that the trial was chosen under, if any.
        before: By folder, the reports of those of a family that the student is pruned from.
        step_name: The last step's in the plan that is followed.
    """
    context, pruned = prepared.context, prepared.mini.pruned
    if pruned and winner.candidate.pruning.after:  # of a student that is trained now
        outdate_trained(context, pruned, winner.candidate.pruning, home)
        measure_pruning(context, pruned, winner.candidate.pruning)
    student = checkpoint_of(context, winner, home)
    trained = train_students(prepared, winner, student, random, home, speedup)
    first, *others = (best_seed(prepared, one) for one in trained)
    choice = Choice(first, others)
    if home == context.run.folder:
        choice = choose_student(prepared, [first, *others])
    choice = ship(choice, home, aside_of(winner))
    with step(step_name):
        report = make_report(  # 6 evaluate
            *(prepared, study, random, winner),
            *(choice.shipped, choice.others, choice.selection, speedup),
            {one.name: seeds_of(prepared, one) for one in (choice.shipped, *choice.others)},
        )
        if before:
            family = family_of({**before, ".": report})
            family = with_exports(family, home, report.environment.point)
            report = report.model_copy(update={"family": family})
        write_report(context.run, study, random, report, home)  # 7 report
        if home == context.run.folder:
            remember_finalists(context.run, report, prepared.inputs.data.spec)
    return report


def work_on_study(context: Context, *, check: bool) -> None:
    """What a worker does: the search, then random search beside it.

    With `check`, for a study that began elsewhere, the inputs are checked on this machine first,
    and settings that changed there are taken over.
    """
    inputs, given, changed, planned = _check_work(context, check=check)
    study = open_run_study(context, inputs.space)
    if changed:
        drop_teacher(context.run)
    if check:
        keep(context.run)
    check_same_data(context, inputs.data)
    with follow(planned):
        prepared = prepare(context, inputs, given)
        search(prepared, study)
        random_search(prepared, study)


def plan_work(context: Context, *, check: bool) -> Forecast:
    """What `work_on_study` would do."""
    return _check_work(context, check=check)[-1]


def _check_work(context: Context, *, check: bool) -> tuple[Inputs, Teacher, bool, Forecast]:
    """What a worker begins with, and whether its fine-tuned teacher is of other settings."""
    check_searches(context.run)
    inputs = read_inputs(context)
    if check:
        check_inputs(context, inputs)
    changed = check and bool(changed_of_teacher(context))
    given = load_given_teacher(context, inputs, afresh=changed)
    planned = forecast(with_expected_trials(context), inputs, given, retrain_teacher=changed)
    return inputs, given, changed, planned
