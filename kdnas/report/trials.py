"""trials.csv and pareto.html, which need a study but no finished student."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from optuna.study import Study

from kdnas.files import write_text
from kdnas.report.plots import pareto_figure, write_pareto
from kdnas.report.table import trial_table
from kdnas.run import Run


def write_trials(
    run: Run, study: Study, control: Study | None, winner: int | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Writes both, and random search's trials if there are any.

    Args:
        run: Where to.
        study: Of the search.
        control: Of random search.
        winner: The trial to mark.

    Returns:
        The tables of both searches.
    """
    table = trial_table(study)
    drawn = None if control is None else trial_table(control)
    write_text(run.folder / "trials.csv", table.to_csv(index=False))
    if drawn is not None:
        write_text(run.folder / "random-search.csv", drawn.to_csv(index=False))
    teacher, task = (Path(study.user_attrs[key]).name for key in ("teacher", "task"))
    title = f"Students of {teacher} for {task}"
    write_pareto(run.folder / "pareto.html", pareto_figure(table, drawn, winner, title))
    return table, drawn
