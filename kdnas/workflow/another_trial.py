"""Steps 5 to 7 for another trial of a study than the run's own."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.config.assistants import in_a_path
from kdnas.report import Report
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.space.given_shape import with_assistants
from kdnas.students.checkpoint import student_artifact
from kdnas.study.storage import storage_url
from kdnas.study.study import load_control
from kdnas.study.whole import CONTROL, open_study_of
from kdnas.study.winner import Winner, ranked_trials
from kdnas.teachers.load import Teacher
from kdnas.workflow.distilling.check_assistants import check_assistants
from kdnas.workflow.distilling.choose import checkpoint_of
from kdnas.workflow.distilling.train_students import controls_beside
from kdnas.workflow.distilling.within_limit import distil_within_limit, on_this_machine
from kdnas.workflow.pipeline import deliver
from kdnas.workflow.planning.forecast import Forecast, follow, forecast, share_of_time
from kdnas.workflow.planning.trainings import before_training, trained_in_full
from kdnas.workflow.preparing.epochs_left import as_trained
from kdnas.workflow.preparing.inputs import Inputs, check_same_data, load_given_teacher, read_inputs
from kdnas.workflow.preparing.prepare import prepare
from kdnas.workflow.preparing.records import record_of
from kdnas.workflow.searching.search import open_run_study


def distil_another(
    context: Context, number: int | None, speedup: float | None, assistants: Sequence[str] = ()
) -> tuple[Path, Report]:
    """Steps 5 to 7 for another trial of the study, in RUN/students/trial-N.

    The trial is named by its number, or is the best one that is at least `speedup` times as fast.
    With `assistants`, which need a number, its student learns from the last of them; it is in
    RUN/students/trial-N-taught-by-.... Random search is read where the run has it, not run.

    Returns:
        The folder of the report, and the report.

    Raises:
        KdnasError: There is no study, or no such trial.
        MissedLimitError: No trial is so fast when it is timed at length.
    """
    context = as_trained(context)  # all students of a run train alike
    run, settings = context.run, context.settings
    url = storage_url(settings.storage, run.folder)
    with run.alone():
        inputs, given, best_first, planned = _check_trial(context, number, speedup, assistants)
        study = open_run_study(context, inputs.space)
        run.log("machine", host=platform.node(), **context.runtime.describe())
        with follow(planned):
            prepared = prepare(context, inputs, given)
            place = partial(place_of, context)
            if assistants:
                trial = _taught(best_first[0], settings, inputs.space.assistants)
            else:
                where = on_this_machine(context)
                [trial] = distil_within_limit(
                    *(prepared, best_first, speedup, place, where),
                    beside=lambda one, at, fast: controls_beside(
                        prepared, one, at, fast, home_of(context, one)
                    ),
                )
            home = home_of(context, trial)
            random = load_control(url, settings.study, CONTROL)
            own = home == run.folder
            if own:
                say(f"trial {trial.trial} is distilled already: it is the run's own student")
            limit = settings.speedup if own else speedup
            return home, deliver(prepared, study, random, trial, home, limit)


def _taught(trial: FrozenTrial, settings: Settings, assistants: Sequence[str]) -> Winner:
    """A trial whose student has assistants."""
    own = Winner.of(trial, settings)
    return replace(own, candidate=replace(own.candidate, assistants=tuple(assistants)))


def plan_trial(
    context: Context, number: int | None, speedup: float | None, assistants: Sequence[str] = ()
) -> Forecast:
    """What `distil_another` would do.

    Raises:
        KdnasError: There is no study, or no such trial.
    """
    context = as_trained(context)
    with context.run.looked_at():
        return _check_trial(context, number, speedup, assistants)[-1]


def _check_trial(
    context: Context, number: int | None, speedup: float | None, assistants: Sequence[str]
) -> tuple[Inputs, Teacher, list[FrozenTrial], Forecast]:
    """What distilling a trial begins with: data, teacher, trials and plan. Nothing is written."""
    study = open_study_of(context.run)
    inputs = read_inputs(context)
    space = with_assistants(inputs.space, assistants, inputs.config, inputs.source)
    inputs = replace(inputs, space=space)
    check_same_data(context, inputs.data)
    given = load_given_teacher(context, inputs)
    best_first = ranked_trials(study, number=number, speedup=speedup)
    winner = _taught(best_first[0], context.settings, space.assistants)
    check_assistants(context, inputs, winner.candidate)
    before = before_training(context, space.teacher, winner.candidate)
    home = home_of(context, winner)
    students = [*before, *trained_in_full(context, home, assistants, most=1)]
    planned = forecast(context, inputs, given, searches=False, students=students)
    # A trial's time tells that of its own student; assistants are of sizes that are known.
    factor = share_of_time(study, best_first[0], context.settings)
    planned.plan.rescale("student", factor, [one.step for one in before])
    return inputs, given, best_first, planned


def home_of(context: Context, trial: Winner) -> Path:
    """The folder for a trial's results: the run's own where the run distilled this trial."""
    folder, words = context.run.folder, trial.candidate.assistants
    taught = f"-taught-by-{in_a_path(words)}" if words else ""
    beside = folder / "students" / f"trial-{trial.trial}{taught}"
    record = record_of(context.settings, trial.candidate, trial.trial)
    own = student_artifact(checkpoint_of(context, trial), record)
    return beside if (beside / "student").exists() or not own.done() else folder


def place_of(context: Context, trial: Winner, _first: bool = True) -> Path:
    """The folder for a trial's checkpoint."""
    return checkpoint_of(context, trial, home_of(context, trial))
