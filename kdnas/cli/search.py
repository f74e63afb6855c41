"""kdnas search, resume, distill: the whole way, or the rest of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdnas.cli.options import with_settings
from kdnas.cli.shared import OF_THE_RUN, ConfigFile, RunFolder, finish, spelled
from kdnas.config import Settings, load_settings, validated
from kdnas.errors import KdnasError
from kdnas.runtime.console import say

EMBEDDED = Path(__file__).parent.parent / "config/embedded.yaml"


@with_settings()
def search(flags: dict[str, Any], *, config: ConfigFile = None) -> None:
    """Find, distil and evaluate the best student of a teacher for a task.

    With neither --teacher nor --task: an embedded example with shorter settings of its own.
    """
    from kdnas.runs.run_folder import Run
    from kdnas.workflow.timed_length import with_length_that_fits

    settings = with_embedded_defaults(load_settings(config, flags), config, flags)
    run = Run.create(with_length_that_fits(settings))
    from kdnas.workflow.pipeline import Pipeline  # slow to import, and what is above may refuse

    with run.forgotten_if_refused():
        finish(run.folder, lambda: Pipeline(run).everything())


@with_settings(
    trials="Architectures to evaluate, in total, those of before among them; default: the run's.",
    **OF_THE_RUN,
)
def resume(flags: dict[str, Any], run: RunFolder) -> None:
    """Go on with a run that stopped, or give it more trials.

    --trials is their total.
    """
    from kdnas.runs.run_folder import Run

    opened = Run.open(run, **flags)
    from kdnas.workflow.pipeline import Pipeline

    finish(run, lambda: Pipeline(opened).everything())


@with_settings(**OF_THE_RUN)
def distil(
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

    Its two controls are trained beside it: the same student on labels alone, and a hand-picked one.
    """
    from kdnas.runs.run_folder import Run

    if (trial is None) == (speedup is None):
        raise KdnasError("give one of --trial N and --speedup X")
    if trial is not None and trial < 0:
        raise KdnasError(f"--trial is {trial}; the number of a trial, 0 or more, would be right")
    wanted = validated({"speedup": speedup}).speedup
    opened = Run.open(run, **flags)
    from kdnas.workflow.pipeline import Pipeline

    which = f"--trial {trial}" if wanted is None else f"--speedup {wanted:g}"
    again = f"distill {run} {which}{spelled(flags)}"
    finish(run, lambda: Pipeline(opened).another(trial, wanted), again)


def with_embedded_defaults(
    settings: Settings, config: list[Path] | None, flags: dict[str, Any]
) -> Settings:
    """The short settings of `config/embedded.yaml` where neither teacher nor task is named."""
    from kdnas.config import PLAIN_RECIPE, read_yaml

    if settings.teacher or settings.task:
        return settings
    short = read_yaml(EMBEDDED)
    if settings.stages:
        short = {key: value for key, value in short.items() if key not in PLAIN_RECIPE}
    say("the embedded example; what was not given is as in kdnas/config/embedded.yaml")
    return load_settings(config, flags, short)
