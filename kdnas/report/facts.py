"""What a report is drawn from: a run's study, its results and its log, as far as they are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.study import Study

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json
from kdnas.files.curves import Curves
from kdnas.report.table import records, trial_table
from kdnas.runs.run_folder import Run
from kdnas.runtime.formatting import several
from kdnas.space import Architecture
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import family_of
from kdnas.study.winner import choose_winner
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_config, teacher_source


@dataclass(frozen=True)
class Facts:
    """A run, read.

    Attributes:
        title: Whose students for which task.
        task: The task's own name.
        settings: Of the run.
        study: Of the search.
        table: Its trials.
        control: Those of random search; None where there was none.
        report: The content of report.json; None while no student is finished.
        winner: Number of the trial that was distilled; before that, of the one that would be.
        teacher: Its shape, where it is known.
        curves: Loss curves; none of runs of older versions.
        steps: (step, seconds, machine) as they ended.
        fidelity: The content of fidelity.json, where there is one.
    """

    title: str
    task: str
    settings: Settings
    study: Study
    table: pd.DataFrame
    control: pd.DataFrame | None
    report: dict[str, Any] | None
    winner: int | None
    teacher: Architecture | None
    curves: list[dict[str, Any]]
    steps: list[tuple[str, float, str]]
    fidelity: dict[str, Any] | None

    @classmethod
    def of(
        cls, run: Run, study: Study, control: Study | None, report: dict[str, Any] | None
    ) -> Facts:
        """The facts of a run as it is now."""
        teacher, task = Path(study.user_attrs["teacher"]).name, _task(run, study, report)
        return cls(
            title=f"Students of {teacher} for {task}",
            task=task,
            settings=run.settings,
            study=study,
            table=trial_table(study),
            control=None if control is None else trial_table(control),
            report=report,
            winner=report["student"]["trial"] if report else _best(study, run.settings),
            teacher=_teacher(run, report),
            curves=Curves(run.folder).read(),
            steps=_steps(run),
            fidelity=read_json(run.folder / "fidelity.json"),
        )

    @property
    def winner_shape(self) -> Architecture | None:
        """The architecture of the winner."""
        rows = self.table[self.table.number == self.winner]
        return None if rows.empty else Architecture.from_params(records(rows)[0])


def label_of(row: Any) -> str:
    """A row's architecture in short."""
    return Architecture.from_params(row).label


def _task(run: Run, study: Study, report: dict[str, Any] | None) -> str:
    """What the task calls itself; of a file that is gone since, the file's name."""
    if report:
        return str(report["task"])
    named = str(study.user_attrs["task"])
    try:
        return load_spec(named, run.settings.tasks).name
    except KdnasError:
        return Path(named).stem


def _best(study: Study, settings: Settings) -> int | None:
    try:
        return choose_winner(study, speedup=settings.speedup).number
    except KdnasError:
        return None


def _teacher(run: Run, report: dict[str, Any] | None) -> Architecture | None:
    """From the report; of older runs, from the config of the teacher that they fine-tuned."""
    known = report["teacher"].get("architecture") if report else None
    if known:
        return Architecture.from_params(known)
    try:
        tuned = run.folder / "teacher"
        here = (tuned / "config.json").exists()
        source = str(tuned) if here else teacher_source(run.settings.teacher)
        if not Path(source).is_dir():  # a report fetches nothing
            return None
        config = load_config(source)
        return teacher_architecture(config, family_of(config.model_type, source))
    except KdnasError:
        return None


def _steps(run: Run) -> list[tuple[str, float, str]]:
    steps: dict[tuple[str, str], float] = {}
    machine = ""
    for event in run.events():
        if event.get("event") == "machine":
            threads = several(event["threads"], "thread")
            machine = f"{event['host']}, {event['device']}, {threads}"
        elif event.get("event") == "end":
            key = (str(event["step"]), machine)
            steps[key] = steps.get(key, 0.0) + float(event["seconds"])
    return [(step, seconds, machine) for (step, machine), seconds in steps.items()]
