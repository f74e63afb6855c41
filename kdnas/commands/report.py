"""kdnas report: what a person reads, anew."""

from __future__ import annotations

from kdnas.commands.shared import RunFolder
from kdnas.console import say


def report(run: RunFolder) -> None:
    """Rewrite a run's trials.csv, pareto.html and report from its study."""
    from kdnas.report.rewrite import rewrite_report
    from kdnas.run import Run

    for line in rewrite_report(Run.open(run)):
        say(line)
