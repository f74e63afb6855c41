"""`kdnas report`: the report anew, from the study and the results that are there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kdnas.files.atomic import read_json, write_json, write_text
from kdnas.report.card import model_card
from kdnas.report.facts import Facts
from kdnas.report.page import Plotly
from kdnas.report.report_page import write_report_page
from kdnas.report.search import search_summary
from kdnas.report.summary import recipe_of
from kdnas.report.write import write_trials
from kdnas.runs.run_folder import Run
from kdnas.students.checkpoint import CARD, RECORD
from kdnas.study.storage import storage_url
from kdnas.study.trials import read_control, read_study


def rewrite_report(run: Run, plotly: Plotly = "inline") -> Facts:
    """Writes the trial table and the pages and, where a student is there, its report and card.

    Returns:
        What is known of the run.

    Raises:
        KdnasError: The run has no study yet.
    """
    study, control = studies_of(run)
    facts = write_trials(run, study, control, plotly)
    if facts.report:
        facts = replace(facts, report=_renewed(run, facts))
    write_report_page(run.folder / "report.html", facts, plotly)
    return facts


def read_facts(run: Run) -> Facts:
    """What is known of a run, without writing anything.

    Raises:
        KdnasError: The run has no study yet.
    """
    return Facts.of(run, *studies_of(run), read_json(run.folder / "report.json"))


def studies_of(run: Run) -> tuple[Any, Any]:
    """A run's study and that of random search, if there is one.

    Raises:
        KdnasError: The run has no study yet.
    """
    url = storage_url(run.settings.storage, run.folder)
    study = read_study(url, run.settings.study, run.folder)
    return study, read_control(url, run.settings.study, "random")


def _renewed(run: Run, facts: Facts) -> dict[str, Any]:
    assert facts.report
    report = {"recipe": recipe_of(run.settings), **facts.report}  # the oldest have none
    size = report["search"]["space"]
    report["search"] = search_summary(run.settings, facts.table, facts.control, size)
    report["seconds"] = run.seconds()
    write_json(run.folder / "report.json", report)
    student = run.folder / "student"
    # While a new winner's controls are trained, the report is still that of the old one.
    if (read_json(student / RECORD) or {}).get("trial") == report["student"]["trial"]:
        write_text(student / CARD, model_card(report))
    return report
