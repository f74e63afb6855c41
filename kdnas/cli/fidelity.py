"""kdnas fidelity: how far to trust a study's scores."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kdnas.cli.options import with_settings
from kdnas.cli.shared import OF_THE_RUN, RunFolder, interruptible, spelled
from kdnas.runtime.console import conclude


@with_settings(**OF_THE_RUN)
def fidelity(
    flags: dict[str, Any],
    run: RunFolder,
    *,
    students: Annotated[int, typer.Option(help="Students to distil fully.")] = 16,
    seeds: Annotated[int, typer.Option(help="Full trainings of each, one a seed.")] = 1,
) -> None:
    """Tell how well a run's mini-KD scores rank its students.

    Distils students spread over the front fully and tells the rank correlation of both scores.
    Each score is kept: a repeat costs nothing.
    """
    from kdnas.report.fidelity import fidelity_lines
    from kdnas.runs.context import open_context
    from kdnas.runs.run_folder import Run
    from kdnas.workflow.fidelity import fidelity as measure

    opened = Run.open(run, **flags)
    again = f"fidelity {run} --students {students} --seeds {seeds}{spelled(flags)}"
    result = interruptible(again, lambda: measure(open_context(opened), students, seeds))
    conclude(result, fidelity_lines(result, str(run)))
