"""The last step of a run: everything that a person reads."""

from __future__ import annotations

from typing import Any

from optuna.study import Study

from kdnas.files import write_json, write_text
from kdnas.report.card import model_card
from kdnas.report.results import Results
from kdnas.report.summary import summary
from kdnas.report.trials import write_trials
from kdnas.run import Run


def write_report(run: Run, study: Study, control: Study | None, results: Results) -> dict[str, Any]:
    """Writes the trials, report.json, pareto.html and the student's card; returns the report."""
    table, drawn = write_trials(run, study, control, results.winner)
    report = summary(run.settings, table, drawn, results, run.seconds())
    write_json(results.home / "report.json", report)
    write_text(results.home / "student" / "README.md", model_card(report))
    return report
