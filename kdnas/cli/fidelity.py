"""kdnas fidelity: how well a study's scores rank its students."""

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
    students: Annotated[int, typer.Option(help="Students to distil in full.")] = 16,
    seeds: Annotated[int, typer.Option(help="Trainings of each, one a seed.")] = 1,
) -> None:
    """Measure how well a study's scores rank its students.

    Distils students spread over the front in full and prints the rank correlation of their scores
    in the study with their final scores. Finished students are kept: repeating it costs nothing.
    """
    from kdnas.report.fidelity import fidelity_lines
    from kdnas.runs.context import open_context
    from kdnas.runs.run_folder import Run
    from kdnas.workflow.fidelity import fidelity as measure

    opened = Run.open(run, **flags)
    again = f"fidelity {run} --students {students} --seeds {seeds}{spelled(flags)}"
    result = interruptible(again, lambda: measure(open_context(opened), students, seeds))
    conclude(result, fidelity_lines(result, str(run)))
