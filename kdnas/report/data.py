"""What reports and figures are drawn from: a run's study, its report, its log and its curves."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import TrialState

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.curves import Curves
from kdnas.files.lines import is_finite
from kdnas.report.fidelity_file import read_fidelity
from kdnas.report.history import Measurement, measurements
from kdnas.report.model import Report
from kdnas.report.named import Named
from kdnas.report.search_summary import best_of
from kdnas.report.timed_again import as_timed_again
from kdnas.report.trials_table import finished, no_trials, records, trial_table
from kdnas.runs.run_folder import Run
from kdnas.runtime.formatting import several
from kdnas.space import AnyArchitecture, Architecture
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import family_of
from kdnas.study.deadline import Deadline
from kdnas.study.optimize import expected_trials
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.rows import candidate_of
from kdnas.study.storage import storage_url
from kdnas.study.study import load_control
from kdnas.study.whole import CONTROL, open_study_of
from kdnas.study.winner import choose_winner
from kdnas.tasks import DEFAULT_TASK, load_spec
from kdnas.teachers.load import EMBEDDED_NAME, load_config, teacher_source

REPORT = "report.json"


@dataclass(frozen=True)
class ReportData:
    """All that is known of a run now."""

    folder: Path  # of the run
    home: Path  # of the reported student: the run folder, or that of another student below it
    title: str  # whose students for which task
    teacher_name: str  # its hub id, or its folder
    task: str
    settings: Settings
    study: Study | None  # of the search; None where the shape is given
    table: pd.DataFrame  # its trials
    held: pd.DataFrame  # likewise, where a second timing contradicts the first by that
    control: pd.DataFrame | None  # those of random search
    report: Report | None  # None until a student is finished
    winner: int | None  # the distilled trial; before that, the best so far; None without a search
    teacher: AnyArchitecture | None  # its shape, where it is known
    curves: list[dict[str, Any]]
    steps: list[tuple[str, float, str]]  # (step, seconds, machine) as they ended
    fidelity: dict[str, Any] | None  # the content of fidelity.json
    fidelity_wrong: str  # why it is left out; empty where it is not
    others: list[Report]  # of the students that `kdnas distill` made
    record: list[Measurement]  # what scores were worth on this machine, in any run

    @classmethod
    def of(
        cls,
        run: Run,
        study: Study | None,
        control: Study | None,
        report: Report | None,
        home: Path | None = None,
    ) -> ReportData:
        """Gathers it from a run, its studies and a report; `home` is that of another student."""
        teacher, named = _identity(run, study)
        task = report.task if report else _task(run, named)
        table = trial_table(study, run.settings) if study else no_trials()
        fidelity, wrong = read_fidelity(run.folder)
        return cls(
            folder=run.folder,
            home=home or run.folder,
            title=f"{'Students' if study else 'A student'} of {Path(teacher).name} for {task}",
            teacher_name=teacher,
            task=task,
            settings=run.settings,
            study=study,
            table=table,
            held=as_timed_again(table, run, run.settings),
            control=None if control is None else trial_table(control, run.settings),
            report=report,
            winner=report.student.trial if report else _best(study, run.settings),
            teacher=report.teacher.architecture if report else teacher_shape(run),
            curves=Curves(run.folder).read(),
            steps=_steps(run),
            fidelity=fidelity,
            fidelity_wrong=wrong,
            others=_others(run.folder),
            record=measurements(),
        )

    @property
    def as_held(self) -> ReportData:
        """The same with the trials as `held`, for the front and what it recommends."""
        return replace(self, table=self.held)

    @property
    def names(self) -> Named:
        """How commands name the run and the reported student."""
        trial = self.report.student.trial if self.report else None
        return Named.of(self.folder, self.home, trial, lambda path: quote(str(path)))

    @property
    def student(self) -> Path | None:
        """The folder of the run's trained student, reported or not; None until it is there."""
        folder = self.folder / "student"
        return folder if (folder / "config.json").exists() else None

    @property
    def winner_shape(self) -> AnyArchitecture | None:
        """The architecture of the winner, or of the student without a search."""
        if self.study is None:
            return self.report.student.architecture if self.report else None
        rows = records(self.table[self.table.number == self.winner])
        return candidate_of(rows[0]).architecture if rows else None

    @property
    def progress(self) -> dict[str, Any]:
        """Trials done and planned, in whole trainings; the best reward and student so far.

        Planned are None until a search that ends by its time alone has worked out how many it has
        time for. Empty without a search.
        """
        if self.study is None:
            return {}
        pruner = SuccessiveHalvingPruner(self.settings.rungs, self.settings.reduction)
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = self.study.get_trials(deepcopy=False, states=ended)
        rows = finished(self.table)
        best = best_of(rows[rows.number == self.winner])
        known = self.settings.ends_by_trials or Deadline.of(self.study) is not None
        return {
            "trials": round(pruner.spent(trials) / pruner.full_cost, 2),
            "planned": expected_trials(self.study, self.settings.trials) if known else None,
            "best_reward": None if rows.empty else float(rows.reward.max()),
            "best": best and best.model_dump(mode="json"),
        }


def read_run(run: Run) -> ReportData:
    """All that is known of a run; nothing is written.

    Raises:
        KdnasError: The run's search has no study yet, or its report.json cannot be read.
    """
    if not run.settings.searches:
        return ReportData.of(run, None, None, read_report(run.folder))
    url = storage_url(run.settings.storage, run.folder)
    study = open_study_of(run)
    control = load_control(url, run.settings.study, CONTROL)
    return ReportData.of(run, study, control, read_report(run.folder))


def read_report(folder: Path) -> Report | None:
    """The report in a folder; None where no student is finished yet.

    Raises:
        KdnasError: It cannot be read.
    """
    path = folder / REPORT
    return Report.read(path) if path.exists() else None


def _others(folder: Path) -> list[Report]:
    """The readable reports of other students; a damaged one says nothing here."""
    found = []
    for path in sorted(folder.glob(f"students/trial-*/{REPORT}")):
        with suppress(KdnasError):
            found.append(Report.read(path))
    return found


def _identity(run: Run, study: Study | None) -> tuple[str, str]:
    """The teacher's name and the task as it was named."""
    settings = run.settings
    known = study.user_attrs if study else {}
    teacher = known.get("teacher", settings.teacher or EMBEDDED_NAME)
    return str(teacher), str(known.get("task", settings.task or DEFAULT_TASK))


def _task(run: Run, named: str) -> str:
    """The task's own name; of a file that is gone since, the file's name."""
    try:
        return load_spec(named, run.settings.tasks).name
    except KdnasError:
        return Path(named).stem


def _best(study: Study | None, settings: Settings) -> int | None:
    if study is None:
        return None
    try:
        return choose_winner(study, speedup=settings.speedup).number
    except KdnasError:
        return None


def teacher_shape(run: Run) -> Architecture | None:
    """The teacher's shape before there is a report; from local files only."""
    tuned = run.folder / "teacher"
    try:
        here = (tuned / "config.json").exists()
        source = str(tuned) if here else teacher_source(run.settings.base)
        if not Path(source).is_dir():
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
            threads = several(event.get("threads"), "thread")
            machine = f"{event.get('host')}, {event.get('device')}, {threads}"
        elif event.get("event") == "end" and is_finite(event.get("seconds")):
            key = (str(event.get("step")), machine)
            steps[key] = steps.get(key, 0.0) + float(event["seconds"])
    return [(step, seconds, machine) for (step, machine), seconds in steps.items()]
