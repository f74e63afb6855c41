"""Whether a run's study is whole, and what to do where it is not: nothing is searched anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.runs.student import report_of_pruned
from kdnas.runtime.formatting import several
from kdnas.space.architecture import FIELDS, FURTHER_FIELDS
from kdnas.space.pruning import prunings_asked
from kdnas.study import attributes as attr
from kdnas.study.record import has_results, rows_on_record
from kdnas.study.rows import Row, fault_of, is_settled, row_of
from kdnas.study.storage import (
    DAMAGED,
    file_of,
    file_problem,
    make_storage,
    outages,
    storage_failures,
    storage_url,
    without_password,
)
from kdnas.study.study import DIRECTIONS, control_name, load_run_study

CONTROL = "random"
REMEDY = "--rebuild-study"


def open_study_of(run: Run) -> Study:
    """The whole study of a run that has begun.

    Raises:
        KdnasError: There is none yet, or it is lost, damaged, or another's.
    """
    check_searches(run)
    check_whole(run)
    settings = run.settings
    url = storage_url(settings.storage, run.folder)
    return load_run_study(url, settings.study, run.folder)


def check_searches(run: Run) -> None:
    """Raises KdnasError where a run has no study because its students are given."""
    settings, folder = run.settings, run.folder
    if settings.searches:
        return
    what, reports = what_is_distilled(settings), [Path()]
    if settings.architecture is None:
        reports = [report_of_pruned(settings, one.speedup) for one in prunings_asked(settings)]
    students = ", ".join(str(folder / one / "student") for one in reports)
    which = f" --student {reports[0].as_posix()}" if reports[1:] else ""
    raise KdnasError(
        f"{folder} has no study: it distils {what}; go on with `kdnas resume {folder}`, take its "
        f"student{'s' * bool(reports[1:])} ({students}) with `kdnas export {folder}{which}`, or "
        "start a study with kdnas search"
    )


def what_is_distilled(settings: Settings) -> str:
    """What a run without a search distils, in words."""
    if settings.architecture is not None:
        return f"one shape, {settings.architecture}"
    return f"the teacher pruned by {settings.pruned} to {prunings_asked(settings)[-1].target}"


def check_whole(run: Run) -> None:
    """Refuses a study that lacks trials of its run, or has some that are not kdnas's.

    A run without a study passes.

    Raises:
        KdnasError: It is so; the message says how the study comes back.
    """
    if not run.settings.searches:
        return
    for control in (False, True):
        rows = rows_on_record(run, control=control)
        if problem := problem_of(run, rows, control=control):
            raise KdnasError(f"{problem}; {_remedy(run, rows)}")


def name_of(run: Run, *, control: bool) -> str:
    """The name of a run's study, or of random search's beside it."""
    name = run.settings.study
    return control_name(name, CONTROL) if control else name


def problem_of(run: Run, rows: Mapping[int, Row], *, control: bool) -> str | None:
    """What is wrong with a study beside the rows on record, in words; None where nothing is.

    A study that does not exist is no problem where nothing is on record.
    """
    url, name = storage_url(run.settings.storage, run.folder), name_of(run, control=control)
    settled = {number: row for number, row in rows.items() if is_settled(row)}
    begun = bool(settled) or (not control and has_results(run))
    if problem := file_problem(url):
        # Without a trial on record, the file may be just about to be made.
        return problem if begun or DAMAGED in problem else None
    try:
        study = study_in(url, name)
        if study is None:
            return f"study {name!r} is not in {_place(url)}" if begun else None
        directions = [d.name.lower() for d in study.directions]
        trials = study.get_trials(deepcopy=False)
    except KdnasError as error:
        if file_of(url) is None and isinstance(error.__context__, outages()):
            raise  # a server is out of reach, and nothing is lost
        return str(error)
    except Exception as error:  # of damaged content, Optuna and SQLAlchemy raise many kinds
        return f"study {name!r} in {_place(url)} {DAMAGED}: {' '.join(str(error).split())[:200]}"
    if directions != DIRECTIONS[run.settings.objective] and (begun or trials):
        return f"study {name!r} in {_place(url)} has the directions {directions}"
    return _problem_of_trials(
        trials, settled, f"study {name!r} in {_place(url)}", len(directions), run.settings
    )


def study_in(url: str, name: str) -> Study | None:
    """A study of a storage; None where the storage has none of this name."""
    with storage_failures(f"cannot read study {name!r}", url):
        storage = make_storage(url)
        names = {study.study_name for study in storage.get_all_studies()}
        return optuna.load_study(study_name=name, storage=storage) if name in names else None


def fault_of_trial(trial: FrozenTrial, values: int, settings: Settings) -> str | None:
    """What a trial lacks that a worker of kdnas gives it; None where it is whole.

    `values` is how many it has been told, `settings` are its search's.
    """
    if not trial.state.is_finished():
        return None
    row = row_of(trial, settings)
    if fault := fault_of(row):
        return fault
    if not is_settled(row):
        return None
    found = trial.values if row["state"] == "COMPLETE" else trial.user_attrs.get(attr.RUNG_VALUES)
    if attr.INFEASIBLE in trial.user_attrs:
        return None
    if not isinstance(found, list) or len(found) != values:
        return f"has not {several(values, 'value')}"
    return None


def _problem_of_trials(
    trials: list[FrozenTrial],
    settled: Mapping[int, Row],
    where: str,
    values: int,
    settings: Settings,
) -> str | None:
    for trial in trials:
        if fault := fault_of_trial(trial, values, settings):
            return f"{where} {DAMAGED}: its trial {trial.number} {fault}"
    for number, row in settled.items():
        found = row_of(trials[number], settings) if number < len(trials) else {}
        if not is_settled(found):
            return f"{where} lacks trial {number}, which the run folder has"
        if any(found.get(name) != row.get(name) for name in (*FIELDS, *FURTHER_FIELDS)):
            return f"{where} is another run's: its trial {number} has another student"
    return None


def _remedy(run: Run, rows: Mapping[int, Row]) -> str:
    again = f"`kdnas resume {run.folder} {REMEDY}`"
    count = sum(map(is_settled, rows.values()))
    if count:
        trials = several(count, "finished trial")
        return f"put it back, or make it anew from the {trials} on record with {again}"
    return f"put it back, or make it anew with {again}"


def _place(url: str) -> str | Path:
    return file_of(url) or without_password(url)
