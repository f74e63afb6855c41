"""trials.csv and pareto.html, which need a study but no finished student."""

from __future__ import annotations

from pathlib import Path

from optuna.study import Study

from kdnas.files import write_text
from kdnas.report.plots import pareto_figure, write_pareto
from kdnas.report.table import trial_table
from kdnas.run import Run


def write_trials(run: Run, study: Study, winner: int | None) -> None:
    """Writes both; `winner` is the trial to mark."""
    table = trial_table(study)
    write_text(run.folder / "trials.csv", table.to_csv(index=False))
    teacher, task = (Path(study.user_attrs[key]).name for key in ("teacher", "task"))
    title = f"Students of {teacher} for {task}"
    write_pareto(run.folder / "pareto.html", pareto_figure(table, winner, title))
