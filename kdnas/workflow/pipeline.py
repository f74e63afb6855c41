"""The whole way, from a teacher and a task to a student and a report.

Each step leaves an artifact in the run folder; resuming a run is taking the steps again, and an
artifact that is there is loaded, not made.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import partial
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.report import Report, write_report
from kdnas.report.model import SEARCHED
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.students.checkpoint import student_artifact
from kdnas.study.rebuild import rebuild_study
from kdnas.study.storage import storage_url
from kdnas.study.study import load_control
from kdnas.study.whole import CONTROL, check_whole, open_study_of
from kdnas.study.winner import ranked_trials
from kdnas.workflow.choose import Choice, checkpoint_of, choose_student, ship
from kdnas.workflow.distil import record_of, train_controls
from kdnas.workflow.inputs import (
    check_inputs,
    check_limits,
    check_same_data,
    check_total,
    load_given_teacher,
    read_inputs,
    take_changes,
)
from kdnas.workflow.measure import Control, make_report
from kdnas.workflow.prepare import Prepared, prepare
from kdnas.workflow.search import open_run_study, random_search, search
from kdnas.workflow.within_limit import distil_within_limit


def find_student(context: Context, *, rebuild: bool = False) -> Report:
    """The seven steps; with `rebuild`, a lost or damaged study is first made again.

    Raises:
        KdnasError: Bad input or a lost study, before anything is computed; or no candidate meets
            the limits.
    """
    run = context.run
    with run.alone():
        if not rebuild:
            check_whole(run)
        inputs = read_inputs(context)
        if rebuild:
            rebuild_study(run, inputs.space)
            context = replace(context, settings=run.settings)
        settings = context.settings
        check_inputs(context, inputs)
        check_total(context)
        take_changes(context)
        given = load_given_teacher(context, inputs)
        check_limits(context, inputs)
        study = open_run_study(context, inputs.space)
        run.save()
        say(f"run folder: {run.folder}")
        run.log("machine", host=platform.node(), **context.runtime.describe())

        prepared = prepare(context, inputs, given)  # 1 teacher, 2 space, 3 signal
        search(prepared, study)  # 4 search
        best_first = ranked_trials(study, speedup=settings.speedup)
        place = partial(checkpoint_of, context)
        winner = distil_within_limit(prepared, best_first, settings.speedup, place)  # 5 distil
        random = random_search(prepared, study)
        return deliver(prepared, study, random, winner, run.folder, settings.speedup)


def deliver(
    prepared: Prepared,
    study: Study,
    random: Study | None,
    winner: FrozenTrial,
    home: Path,
    speedup: float | None,
) -> Report:
    """Controls, measurements (step 6) and the report (step 7) of a distilled trial.

    In the run folder, the best of all students trained in full ships.

    Args:
        prepared: Of the run.
        study: The search's.
        random: That of random search, if there is one.
        winner: The trial.
        home: Gets the controls and the report beside `student/`.
        speedup: The limit that the trial was chosen under, if any.
    """
    context, candidate = prepared.context, Candidate.from_params(winner.params)
    own = home == context.run.folder
    student = checkpoint_of(context, winner) if own else home / "student"
    controls = train_controls(prepared, candidate, student, random, home / "controls")
    choice = Choice(Control(SEARCHED, candidate, student), controls)
    if own:
        choice = ship(prepared, choose_student(prepared, [choice.shipped, *controls]))
    report = make_report(  # 6 evaluate
        *(prepared, study, random, winner),
        *(choice.shipped, choice.others, choice.selection, speedup),
    )
    write_report(context.run, study, random, report, home)  # 7 report
    return report


def distil_another(context: Context, number: int | None, speedup: float | None) -> Report:
    """Steps 5 to 7 for another trial of the study, in RUN/students/trial-N.

    The trial is named by its number, or is the best one that is at least `speedup` times as fast.
    Random search is read where the run has it, not run.

    Raises:
        KdnasError: There is no study, or no such trial.
        MissedLimitError: No trial is so fast when it is timed at length.
    """
    run, settings = context.run, context.settings
    url = storage_url(settings.storage, run.folder)
    with run.alone():
        open_study_of(run)  # refuses where there is none
        inputs = read_inputs(context)
        check_same_data(context, inputs.data)
        given = load_given_teacher(context, inputs)
        study = open_run_study(context, inputs.space)
        run.log("machine", host=platform.node(), **context.runtime.describe())
        best_first = ranked_trials(study, number=number, speedup=speedup)
        prepared = prepare(context, inputs, given)
        place = partial(place_of, context)
        trial = distil_within_limit(prepared, best_first, speedup, place)
        home = home_of(context, trial)
        random = load_control(url, settings.study, CONTROL)
        own = home == run.folder
        if own:
            say(f"trial {trial.number} is distilled already: it is the run's own student")
        return deliver(prepared, study, random, trial, home, settings.speedup if own else speedup)


def home_of(context: Context, trial: FrozenTrial) -> Path:
    """The folder for a trial's results: the run's own where the run distilled this trial."""
    folder = context.run.folder
    beside = folder / "students" / f"trial-{trial.number}"
    record = record_of(context.settings, Candidate.from_params(trial.params), trial.number)
    own = student_artifact(checkpoint_of(context, trial), record)
    return beside if (beside / "student").exists() or not own.done() else folder


def place_of(context: Context, trial: FrozenTrial) -> Path:
    """The folder for a trial's checkpoint."""
    home = home_of(context, trial)
    own = home == context.run.folder
    return checkpoint_of(context, trial) if own else home / "student"


def work_on_study(context: Context, *, check: bool) -> None:
    """What a worker does: the search, then random search beside it.

    With `check`, for a study that began elsewhere, the inputs are checked on this machine first.
    """
    inputs = read_inputs(context)
    if check:
        check_inputs(context, inputs)
    given = load_given_teacher(context, inputs)
    study = open_run_study(context, inputs.space)
    prepared = prepare(context, inputs, given)
    search(prepared, study)
    random_search(prepared, study)
