"""Adds what scores were worth in a run to the record of this machine."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from kdnas import __version__
from kdnas.config import Settings
from kdnas.report import Report
from kdnas.report.history import Measurement, remember
from kdnas.runs.run_folder import Run
from kdnas.tasks import TaskSpec
from kdnas.teachers.load import name_of_teacher


def remember_finalists(run: Run, report: Report, spec: TaskSpec) -> None:
    """Adds how the finalists of a search ranked, where there were several."""
    search = report.search
    if search is None or search.finalists_tau is None:
        return
    found = (search.finalists_tau, len(search.finalists), search.seconds_per_trial.median)
    remember_tau(run, spec, "finalists", *found)


def remember_tau(
    run: Run,
    spec: TaskSpec,
    kind: Literal["fidelity", "finalists"],
    tau: float | None,
    n: int,
    seconds: float,
) -> None:
    """Adds a rank correlation; one that does not exist, of ties, is no measurement.

    Args:
        run: Whose scores they are.
        spec: Of its task.
        kind: Who measured it.
        tau: Kendall's, between the scores of the search and final scores.
        n: Students.
        seconds: What a score took.
    """
    if tau is None:
        return
    settings: Settings = run.settings
    found = Measurement(
        kind=kind,
        tau=round(tau, 4),
        n=n,
        task=spec.name,
        task_type=spec.type,
        teacher=Path(name_of_teacher(settings)).name,
        scorer=settings.scorer,
        score=settings.mini_score,
        recipe=settings.recipes or settings.recipe,
        seconds=round(seconds, 2),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        kdnas=__version__,
        run=str(run.folder.resolve()),
    )
    remember(found)
