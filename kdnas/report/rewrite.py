"""`kdnas report`: the report anew, from the study and the results that are there."""

from __future__ import annotations

from kdnas.files import read_json, write_json, write_text
from kdnas.report.card import model_card
from kdnas.report.search import search_summary
from kdnas.report.terminal import closing_lines
from kdnas.report.trials import write_trials
from kdnas.run import Run
from kdnas.search.storage import storage_url
from kdnas.search.study import read_control, read_study


def rewrite_report(run: Run) -> list[str]:
    """Writes the trial table and the plot and, where a student is there, its report and card.

    Returns:
        Lines for the terminal.

    Raises:
        KdnasError: The run has no study yet.
    """
    url = storage_url(run.settings.storage, run.folder)
    study = read_study(url, run.settings.study, run.folder)
    control = read_control(url, run.settings.study, "random")
    report = read_json(run.folder / "report.json")
    winner = report["student"]["trial"] if report else None
    table, drawn = write_trials(run, study, control, winner)
    if not report:
        return [f"wrote {run.folder}/trials.csv and pareto.html; no student yet: kdnas resume"]
    size = report["search"]["space"]
    report["search"] = search_summary(run.settings, table, drawn, size)
    report["seconds"] = run.seconds()
    write_json(run.folder / "report.json", report)
    write_text(run.folder / "student" / "README.md", model_card(report))
    return closing_lines(report, str(run.folder))
