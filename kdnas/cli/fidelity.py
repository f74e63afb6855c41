"""kdnas fidelity: how well the scores of a search rank students, in a run and on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from kdnas.cli.options import OF_THE_RUN, DryRun, interruptible, spelled, with_settings
from kdnas.cli.search import tell
from kdnas.errors import KdnasError
from kdnas.runtime.console import conclude


@with_settings(**OF_THE_RUN)
def fidelity(
    flags: dict[str, Any],
    run: Path | None = typer.Argument(
        None, help="A run folder made by kdnas search; none with --history."
    ),
    *,
    students: int = typer.Option(16, help="Students to distil in full.", min=1, max=10_000),
    seeds: int = typer.Option(1, help="Trainings of each, one a seed.", min=1, max=1000),
    history: bool = typer.Option(
        False,
        "--history",
        help="Print what was measured on this machine so far, in any run, and the mean by type of "
        "task.",
    ),
    dry_run: DryRun = False,
) -> None:
    """Measure how well a study's scores rank its students.

    Distils students spread over the front in full and prints the rank correlation of their scores
    in the study with their final scores. Finished students are kept: repeating it costs nothing.
    """
    if history:
        _print_history(run)
        return
    if run is None:
        raise KdnasError("no run given: name a run folder, or give --history")
    from kdnas.runs.run_folder import Run

    opened = Run.open(run, **flags)
    from kdnas.report.fidelity import fidelity_lines
    from kdnas.runs.context import open_context
    from kdnas.workflow.fidelity import fidelity as measure
    from kdnas.workflow.fidelity import plan_fidelity

    if dry_run:
        tell(opened, lambda context: plan_fidelity(context, students, seeds))
        return
    again = f"fidelity {run} --students {students} --seeds {seeds}{spelled(flags)}"
    result = interruptible(again, lambda: measure(open_context(opened), students, seeds))
    conclude(result, fidelity_lines(result, str(run)))


def _print_history(run: Path | None) -> None:
    if run is not None:
        raise KdnasError(f"--history is of all runs on this machine: leave {run} out")
    from kdnas.report.history import by_task_type, history_lines, measurements, record_file

    found = measurements()
    result = {
        "record": str(record_file()),
        "by_task_type": by_task_type(found),
        "measurements": [one.model_dump() for one in found],
    }
    conclude(result, history_lines(found))
