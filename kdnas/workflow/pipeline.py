"""The whole way, from a teacher and a task to a student and a report.

Each step leaves an artifact in the run folder; resuming a run is taking the steps again, and an
artifact that is there is loaded, not made.
"""

from __future__ import annotations

import platform
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.report import Report, write_report
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.students.checkpoint import student_artifact
from kdnas.study.storage import storage_url
from kdnas.study.study import load_control, load_run_study
from kdnas.study.winner import choose_winner
from kdnas.workflow.distil import distil, record_of, train_controls
from kdnas.workflow.inputs import (
    check_inputs,
    check_limits,
    check_same_data,
    check_total,
    load_given_teacher,
    read_inputs,
    take_changes,
)
from kdnas.workflow.measure import make_report
from kdnas.workflow.prepare import Prepared, prepare
from kdnas.workflow.search import open_run_study, random_search, search


def find_student(context: Context) -> Report:
    """The seven steps.

    Raises:
        KdnasError: Bad input, before anything is computed; or no candidate meets the limits.
    """
    run, settings = context.run, context.settings
    with run.alone():
        inputs = read_inputs(context)
        check_inputs(context, inputs)
        check_total(context)
        take_changes(context)
        given = load_given_teacher(context, inputs)
        check_limits(context, inputs)
        run.save()
        say(f"run folder: {run.folder}")
        study = open_run_study(context, inputs.space)
        run.log("machine", host=platform.node(), **context.runtime.describe())

        prepared = prepare(context, inputs, given)  # 1 teacher, 2 space, 3 signal
        search(prepared, study)  # 4 search
        winner = choose_winner(study, speedup=settings.speedup)
        distil_trial(prepared, winner, run.folder)  # 5 distil
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

    Args:
        prepared: Of the run.
        study: The search's.
        random: That of random search, if there is one.
        winner: The trial.
        home: Gets the controls and the report beside `student/`.
        speedup: The limit that the trial was chosen under, if any.
    """
    candidate = Candidate.from_params(winner.params)
    controls = train_controls(prepared, candidate, random, home / "controls")
    report = make_report(prepared, study, random, winner, home, controls, speedup)  # 6 evaluate
    write_report(prepared.context.run, study, random, report, home)  # 7 report
    return report


def distil_trial(prepared: Prepared, trial: FrozenTrial, home: Path) -> None:
    """Distils a trial's candidate into `home/student`."""
    distil(prepared, Candidate.from_params(trial.params), trial.number, home / "student")


def distil_another(context: Context, number: int | None, speedup: float | None) -> Report:
    """Steps 5 to 7 for another trial of the study, in RUN/students/trial-N.

    The trial is named by its number, or is the best one that is at least `speedup` times as fast.
    Random search is read where the run has it, not run.

    Raises:
        KdnasError: There is no study, or no such trial.
    """
    run, settings = context.run, context.settings
    url = storage_url(settings.storage, run.folder)
    with run.alone():
        load_run_study(url, settings.study, run.folder)  # refuses where there is none
        inputs = read_inputs(context)
        check_same_data(context, inputs.data)
        given = load_given_teacher(context, inputs)
        study = open_run_study(context, inputs.space)
        run.log("machine", host=platform.node(), **context.runtime.describe())
        trial = choose_winner(study, number=number, speedup=speedup)
        home = home_of(context, trial)
        prepared = prepare(context, inputs, given)
        distil_trial(prepared, trial, home)
        random = load_control(url, settings.study, "random")
        own = home == run.folder
        return deliver(prepared, study, random, trial, home, settings.speedup if own else speedup)


def home_of(context: Context, trial: FrozenTrial) -> Path:
    """The folder for a trial's student: the run's own where its student is this trial's."""
    folder = context.run.folder
    beside = folder / "students" / f"trial-{trial.number}"
    record = record_of(context.settings, Candidate.from_params(trial.params), trial.number)
    if (beside / "student").exists() or not student_artifact(folder / "student", record).done():
        return beside
    say(f"trial {trial.number} is distilled already: it is the run's own student")
    return folder


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
