"""Makes a lost or damaged study again, from what the run folder knows of its trials."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdnas.config import Settings
from kdnas.config.storage_url import sqlite_url
from kdnas.errors import KdnasError
from kdnas.files.atomic import replace_file, set_aside
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.space import Candidate, SearchSpace
from kdnas.space.architecture import FIELDS, FURTHER_FIELDS
from kdnas.study.record import rows_on_record, saved_students
from kdnas.study.rows import Row, is_settled, row_of, trial_of
from kdnas.study.storage import file_of, file_problem, make_storage, storage_failures, storage_url
from kdnas.study.study import DIRECTIONS
from kdnas.study.whole import fault_of_trial, name_of, problem_of, study_in


@dataclass(frozen=True)
class Found:
    """What a study is made of: rows by trial, and students whose result is not on record."""

    rows: dict[int, Row]
    again: dict[int, Candidate]


def rebuild_study(run: Run, space: SearchSpace) -> None:
    """Makes a run's study, and random search's, as they were; whole ones are left as they are.

    States, parameters, values and attributes come from trials.csv, the log, and, where it can be
    read, the old study. A student in RUN/trials without a result is queued again. A damaged
    `study.db` is kept under another name; in another storage, the new study gets a new name.

    Raises:
        KdnasError: Nothing is on record, a trial does not fit the run's space, or the storage
            cannot be used.
    """
    rows = {control: rows_on_record(run, control=control) for control in (False, True)}
    if not any(problem_of(run, rows[control], control=control) for control in rows):
        say("the study is whole: nothing to rebuild")
        return
    found = {control: _found(run, rows[control], control=control) for control in rows}
    if not (found[False].rows or found[False].again):
        raise KdnasError(
            f"cannot rebuild the study: {run.folder} has no trial on record (in trials.csv, "
            "log.jsonl or trials/); start another run with --out"
        )
    url = storage_url(run.settings.storage, run.folder)
    own = run.folder.resolve() / "study.db"
    names = [name_of(run, control=control) for control in found]
    if file_of(url) != own.resolve():
        _choose_free_name(run, url)
        _fill(run, space, url, found)
    elif file_problem(url) or _has_any(url, names) or not _filled(run, space, url, found):
        with replace_file(own) as partial:
            _fill(run, space, sqlite_url(partial), found)
            if os.path.lexists(own):
                set_aside(own)
    for control, parts in found.items():
        if problem := problem_of(run, parts.rows, control=control):
            raise KdnasError(f"cannot rebuild the study: {problem}")
    settled = sum(map(is_settled, found[False].rows.values()))
    say(f"made the study again: {several(settled, 'finished trial')}")


def _found(run: Run, rows: Mapping[int, Row], *, control: bool) -> Found:
    """What is on record, and, of the old study, the whole trials that are not."""
    url, known = storage_url(run.settings.storage, run.folder), dict(rows)
    old = None
    if file_problem(url) is None:
        with suppress(Exception):  # a damaged study gives nothing
            old = study_in(url, name_of(run, control=control))
    for number, row in _whole_trials(old, rows, run.settings).items():
        known.setdefault(number, row)
    students = {} if control else saved_students(run)
    again = {n: c for n, c in students.items() if n not in known or not is_settled(known[n])}
    return Found(known, again)


def _whole_trials(
    study: Study | None, rows: Mapping[int, Row], settings: Settings
) -> dict[int, Row]:
    """The ended trials of an old study that lack nothing; none where it is another run's."""
    trials: list[FrozenTrial] = []
    with suppress(Exception):
        trials = study.get_trials(deepcopy=False) if study else []
        values = len(study.directions) if study else 0
        ended = [t for t in trials if t.state.is_finished()]
        trials = [t for t in ended if not fault_of_trial(t, values, settings)]
    found = {trial.number: row_of(trial, settings) for trial in trials}
    both = [(found[number], rows[number]) for number in found.keys() & rows.keys()]
    fields = (*FIELDS, *FURTHER_FIELDS)
    same = all(one.get(name) == two.get(name) for one, two in both for name in fields)
    return found if same else {}


def _filled(run: Run, space: SearchSpace, url: str, found: Mapping[bool, Found]) -> bool:
    """Fills a storage; False where it is damaged in a way that only writing to it shows."""
    try:
        _fill(run, space, url, found)
    except KdnasError:
        return False
    return True


def _fill(run: Run, space: SearchSpace, url: str, found: Mapping[bool, Found]) -> None:
    """Writes the studies to a storage that has none of their names."""
    what = "cannot rebuild the study"
    with storage_failures(what, url):
        storage = make_storage(url)
        for control, parts in found.items():
            if not (parts.rows or parts.again):
                continue
            settings = run.settings
            if control:  # its candidates train in full at once
                settings = settings.model_copy(update={"rungs": 1})
            study = optuna.create_study(
                storage=storage,
                study_name=name_of(run, control=control),
                directions=DIRECTIONS[settings.objective],
            )
            count = max((*parts.rows, *parts.again)) + 1
            for number in range(count):
                row = parts.rows.get(number)
                study.add_trial(
                    trial_of(row, space, settings) if row else create_trial(state=TrialState.FAIL)
                )
            for candidate in parts.again.values():
                if space.whole.is_valid(params := space.params(candidate)):
                    study.enqueue_trial(params, skip_if_exists=True)
        storage.remove_session()


def _has_any(url: str, names: list[str]) -> bool:
    """Whether a storage has a study of one of these names; also where it cannot be read."""
    try:
        return any(study_in(url, name) is not None for name in names)
    except KdnasError:
        return True


def _choose_free_name(run: Run, url: str) -> None:
    """Leaves a shared storage's studies as they are: where the name is taken, the run gets another.

    Raises:
        KdnasError: The storage cannot be read.
    """
    first = run.settings.study
    for n in itertools.count(2):
        names = [name_of(run, control=control) for control in (False, True)]
        if all(study_in(url, name) is None for name in names):
            break
        run.settings = run.settings.model_copy(update={"study": f"{first}-{n}"})
    if run.settings.study != first:
        run.save()
        say(f"the storage keeps study {first!r} as it is; this run's is {run.settings.study!r} now")
