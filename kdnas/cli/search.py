"""kdnas search, resume, distill: the whole way, or the rest of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdnas.cli.options import with_settings
from kdnas.cli.shared import OF_THE_RUN, ConfigFile, RunFolder, interruptible, spelled
from kdnas.runtime.console import conclude


@with_settings()
def search(flags: dict[str, Any], *, config: ConfigFile = None) -> None:
    """Find, distil and evaluate the best student of a teacher for a task.

    Without --teacher and --task it runs the embedded example.
    """
    from kdnas.workflow.api import new_run

    _finish(new_run(config, flags))


@with_settings(
    trials="Total number of candidates, those already scored included; default: the run's.",
    **OF_THE_RUN,
)
def resume(flags: dict[str, Any], run: RunFolder) -> None:
    """Continue a run that stopped, or give it more trials.

    --trials is the new total.
    """
    from kdnas.runs.run_folder import Run

    _finish(Run.open(run, **flags))


@with_settings(**OF_THE_RUN)
def distill(
    flags: dict[str, Any],
    run: RunFolder,
    *,
    trial: Annotated[int | None, typer.Option(help="Number of the trial to distil.")] = None,
    speedup: Annotated[
        str | None,
        typer.Option(help="Distil the best trial at least this fast.", metavar="NUMBER"),
    ] = None,
) -> None:
    """Distil another trial of a study, into RUN/students/trial-N.

    Its controls are trained beside it: the same student on labels alone, and a hand-picked one.
    """
    from kdnas.report.terminal import closing_lines
    from kdnas.runs.run_folder import Run
    from kdnas.workflow.api import check_choice, distill_trial

    wanted = check_choice(trial, speedup)
    which = f"--trial {trial}" if speedup is None else f"--speedup {speedup}"
    distilled = interruptible(
        f"distill {run} {which}{spelled(flags)}",
        lambda: distill_trial(Run.open(run, **flags), trial, wanted),
    )
    report = distilled.report
    conclude(report.model_dump(mode="json"), closing_lines(report, str(distilled.folder)))


def _finish(run: Any) -> None:
    """Takes a run's last steps and prints the result."""
    from kdnas.report.terminal import closing_lines
    from kdnas.workflow.api import complete, load_run

    folder: Path = run.folder
    interruptible(f"resume {folder}", lambda: complete(run))
    report = load_run(folder).report
    assert report is not None
    conclude(report.model_dump(mode="json"), closing_lines(report, str(folder)))
