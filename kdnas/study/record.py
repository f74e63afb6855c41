"""What a run folder knows of its trials without the study: trials.csv, the log, trial folders."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdnas.files.artifact import key_of
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.space.architecture import FIELDS
from kdnas.space.pruning import METHOD
from kdnas.study import attributes as attr
from kdnas.study.rows import ALL_COLUMNS, LEFT, WHOLE, Row, fault_of

EVENT = "trial"
TRIALS, RANDOM_TRIALS = "trials.csv", "random-search.csv"
TEXTS = {"state", "hidden_act", "recipe", "vocabulary", "proposed", "machine", METHOD, *LEFT}
TEXTS |= {attr.RUNTIME, attr.ERROR, attr.GIVEN_BACK}
SWITCHES = {attr.INFEASIBLE, attr.GIVEN_UP}


def rows_on_record(run: Run, *, control: bool) -> dict[int, Row]:
    """The rows of ended trials by number, from trials.csv and the log; those damaged are left out.

    `control` asks for random search beside the run's own search.
    """
    rows = dict(_in_table(run.folder / (RANDOM_TRIALS if control else TRIALS)))
    for event in run.events(EVENT, number=int, state=str, control=bool):
        row = {name: event[name] for name in ALL_COLUMNS if name in event}
        if event["control"] == control and fault_of(row) is None:
            rows[int(event["number"])] = row
    return {number: rows[number] for number in sorted(rows) if rows[number]["state"] != "RUNNING"}


def saved_students(run: Run) -> dict[int, Candidate]:
    """The candidates of the students that trials left in RUN/trials, by trial."""
    found = {}
    for folder in (run.folder / "trials").glob("*"):
        key = key_of(folder) if folder.name.isdigit() else None
        if key and key.keys() >= set(FIELDS):
            found[int(folder.name)] = Candidate.from_params(key)
    return found


def has_results(run: Run) -> bool:
    """Whether a run folder holds students or a report, which only a search leaves."""
    results = (run.folder / name for name in ("student", "report.json"))
    return any(path.exists() for path in results) or bool(saved_students(run))


def as_event(row: Mapping[str, Any]) -> Row:
    """The fields of a log event that keeps a row."""
    return {name: value for name, value in row.items() if value is not None}


def _in_table(path: Path) -> Iterator[tuple[int, Row]]:
    """Whole rows of a trial table."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        lines = list(csv.DictReader(text.replace("\0", " ").splitlines()))
    except (OSError, csv.Error):
        say(f"{path} is damaged; going on without it")
        return
    damaged = 0
    for line in lines:
        try:
            row = {name: _value(name, line[name]) for name in ALL_COLUMNS if line.get(name)}
            number = int(row["number"])
        except (ValueError, KeyError, OverflowError):
            damaged += 1
            continue
        if fault_of(row) is None and number >= 0:
            yield number, row
        else:
            damaged += 1
    if damaged:
        say(f"{path} has {damaged} damaged row{'s' * (damaged > 1)}, left out")


def _value(name: str, cell: str) -> Any:
    if name in TEXTS:
        return cell
    if name in SWITCHES:
        return cell == "True"
    number = float(cell)
    return int(number) if name == "number" or name in WHOLE else number
