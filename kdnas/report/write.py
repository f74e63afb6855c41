"""The last step of a run: everything that a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.study import Study

from kdnas.files.atomic import read_json, write_json, write_text
from kdnas.report.card import model_card
from kdnas.report.facts import Facts
from kdnas.report.page import Plotly
from kdnas.report.report_page import write_front_page, write_report_page
from kdnas.report.results import Results
from kdnas.report.summary import summary
from kdnas.report.table import trial_table
from kdnas.runs.run_folder import Run


def write_report(run: Run, study: Study, control: Study | None, results: Results) -> dict[str, Any]:
    """Writes trials, report.json, the pages and the student's card; returns the report."""
    table = trial_table(study)
    drawn = None if control is None else trial_table(control)
    report = summary(run.settings, table, drawn, results, run.seconds())
    write_json(results.home / "report.json", report)
    write_text(results.home / "student" / "README.md", model_card(report))
    write_trials(run, study, control)
    write_report_page(results.home / "report.html", Facts.of(run, study, control, report))
    return report


def write_trials(run: Run, study: Study, control: Study | None, plotly: Plotly = "inline") -> Facts:
    """Writes trials.csv, random-search.csv and pareto.html, for which no student need be finished.

    Args:
        run: Where to.
        study: Of the search.
        control: Of random search.
        plotly: Where the page has plotly's script from.

    Returns:
        All that is known of the run.
    """
    facts = Facts.of(run, study, control, read_json(run.folder / "report.json"))
    _write_table(run.folder / "trials.csv", facts.table)
    if facts.control is not None:
        _write_table(run.folder / "random-search.csv", facts.control)
    write_front_page(run.folder / "pareto.html", facts, plotly)
    return facts


def _write_table(path: Path, table: Any) -> None:
    write_text(path, table.to_csv(index=False))
