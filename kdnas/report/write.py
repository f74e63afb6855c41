"""The last step of a run: everything that a person reads."""

from __future__ import annotations

from typing import Any

from optuna.study import Study

from kdnas.files import write_json, write_text
from kdnas.report.card import model_card
from kdnas.report.results import Results
from kdnas.report.summary import summary
from kdnas.report.table import trial_table
from kdnas.report.trials import write_trials
from kdnas.run import Run


def write_report(run: Run, study: Study, results: Results) -> dict[str, Any]:
    """Writes trials.csv, report.json, pareto.html and the student's card; returns the report."""
    report = summary(run.settings, trial_table(study), results, run.seconds())
    write_json(results.home / "report.json", report)
    write_text(results.home / "student" / "README.md", model_card(report))
    write_trials(run, study, results.winner)
    return report
