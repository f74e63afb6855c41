"""The commands. Each is thin: it reads its options and calls the room that does the work."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from kdnas.config import Settings, load_settings
from kdnas.console import say
from kdnas.errors import KdnasError
from kdnas.options import with_settings

app = typer.Typer(
    name="kdnas",
    help="Finds, trains and ships the best small student of a transformer language model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

# Typer brings its own copy of click or uses the installed one, by version.
UsageError: Any = typer.BadParameter.__mro__[1]

RunFolder = Annotated[Path, typer.Argument(help="A run folder made by kdnas search.")]
ConfigFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", help="YAML file that sets any option; may be repeated; flags win over all."
    ),
]
# What a worker on another machine may have elsewhere.
PLACE_OPTIONS = ("storage", "study", "out", "teacher", "task", "data_dir", "corpus")
DATA_OPTIONS = ("data_dir", "max_length", "batch_size", "precision", "threads", "device")


@app.command()
@with_settings()
def search(flags: dict[str, Any], *, config: ConfigFile = None) -> None:
    """Find, distil and evaluate the best student of a teacher for a task.

    With no option: the embedded MiniLM teacher and Rotten Tomatoes snippets, in a few minutes.
    """
    from kdnas.pipeline import Pipeline
    from kdnas.run import Run

    settings = with_embedded_defaults(load_settings(config, flags), config, flags)
    run = Run.create(settings)
    with run.forgotten_if_refused():
        _finish(run.folder, lambda: Pipeline(run).everything())


@app.command()
@with_settings("trials", "threads", "device")
def resume(flags: dict[str, Any], run: RunFolder) -> None:
    """Go on with a run that stopped, in whatever step, or give it more trials (--trials TOTAL)."""
    from kdnas.pipeline import Pipeline
    from kdnas.run import Run

    opened = Run.open(run, **flags)
    _finish(run, lambda: Pipeline(opened).everything())


@app.command()
@with_settings(*PLACE_OPTIONS, "general_teacher", "threads", "device")
def worker(
    flags: dict[str, Any],
    *,
    run: Annotated[
        Path | None, typer.Argument(help="A run folder; without one, --storage names the study.")
    ] = None,
) -> None:
    """Join a running study from another process or machine, until its total is reached."""
    from kdnas.pipeline import Pipeline
    from kdnas.search.presence import present, share_of_cores, study_here

    opened = _joined(run, flags)
    with present(study_here(opened.settings, opened.folder)) as processes:
        opened.settings = share_of_cores(opened.settings, processes)
        pipeline = Pipeline(opened)
        with nullcontext() if run else opened.forgotten_if_refused():
            if run is None:
                pipeline.check()
            _interruptible(f"worker {opened.folder}", pipeline.search)
    say(f"study {opened.settings.study}: nothing is left to do")


@app.command("distill")
def distil(
    run: RunFolder,
    *,
    trial: Annotated[int | None, typer.Option(help="Number of the trial to distil.")] = None,
    speedup: Annotated[
        float | None, typer.Option(help="Distil the best trial at least this fast.")
    ] = None,
) -> None:
    """Distil another trial of a study, into RUN/students/trial-N."""
    from kdnas.pipeline import Pipeline
    from kdnas.run import Run

    if (trial is None) == (speedup is None):
        raise KdnasError("give one of --trial N and --speedup X")
    opened = Run.open(run)
    _finish(run, lambda: Pipeline(opened).another(trial, speedup))


@app.command()
@with_settings("teacher")
def space(
    flags: dict[str, Any],
    *,
    config: ConfigFile = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the students that a search of a teacher would choose from."""
    from kdnas.space.show import describe, lines

    described = describe(load_settings(config, flags))
    for line in [json.dumps(described, indent=2)] if json_out else lines(described):
        say(line)


@app.command()
@with_settings("task", *DATA_OPTIONS)
def evaluate(
    flags: dict[str, Any],
    model: Annotated[str, typer.Argument(help="A checkpoint: hub id or folder.")],
    *,
    config: ConfigFile = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a checkpoint on a task by the task's official metrics."""
    from kdnas.evaluate import evaluate_checkpoint

    scores = evaluate_checkpoint(model, load_settings(config, flags))
    if json_out:
        say(json.dumps(scores))
    else:
        for name, value in scores.items():
            say(f"{name:<20} {value:.4f}")


@app.command()
@with_settings("threads", "device")
def fidelity(
    flags: dict[str, Any],
    run: RunFolder,
    *,
    students: Annotated[int, typer.Option(help="Students to distil fully.")] = 16,
    seeds: Annotated[int, typer.Option(help="Full trainings of each, one a seed.")] = 1,
) -> None:
    """Tell how well a run's mini-KD scores rank its students: rank correlation with final scores.

    Distils students spread over the front fully. Each score is kept: a repeat costs nothing.
    """
    from kdnas.fidelity import fidelity as measure
    from kdnas.report.fidelity import fidelity_lines
    from kdnas.run import Run

    opened = Run.open(run, **flags)
    again = f"fidelity {run} --students {students} --seeds {seeds}"
    for line in fidelity_lines(
        _interruptible(again, lambda: measure(opened, students, seeds)), str(run)
    ):
        say(line)


@app.command()
def report(run: RunFolder) -> None:
    """Rewrite a run's trials.csv, pareto.html and report from its study."""
    from kdnas.report.rewrite import rewrite_report
    from kdnas.run import Run

    for line in rewrite_report(Run.open(run)):
        say(line)


@app.command()
def export(
    run: RunFolder,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder; default: RUN/export.")] = None,
) -> None:
    """Copy a run's student to a folder as a plain transformers checkpoint."""
    from kdnas.run import Run
    from kdnas.student.ship import export_student

    target = out or run / "export"
    export_student(Run.open(run).folder / "student", target)
    say(f"wrote {target}")


def with_embedded_defaults(
    settings: Settings, config: list[Path] | None, flags: dict[str, Any]
) -> Settings:
    """The short settings of `kdnas/embedded.yaml` where neither teacher nor task is named."""
    from kdnas.config import PLAIN_RECIPE, read_yaml, read_yamls, validated

    if settings.teacher or settings.task:
        return settings
    short = read_yaml(Path(__file__).with_name("embedded.yaml"))
    if settings.stages:
        short = {key: value for key, value in short.items() if key not in PLAIN_RECIPE}
    return validated({**short, **read_yamls(config), **flags})


def main() -> None:
    """Entry point: bad input ends in one line and exit code 2, Ctrl-C in 130."""
    try:
        code = app(standalone_mode=False)
    except UsageError as error:
        message = error.format_message()  # empty where `kdnas` alone has shown its help
        if message:
            _complain(message)
        code = 2 if message else 0
    except KdnasError as error:
        _complain(str(error))
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    print(f"kdnas: {' '.join(message.split())}", file=sys.stderr)


def _joined(folder: Path | None, flags: dict[str, Any]) -> Any:
    """The run that a worker works on: an existing one, or one for a study elsewhere."""
    from kdnas.config import validated
    from kdnas.run import Run
    from kdnas.search.join import join

    if folder is None:
        if "storage" not in flags:
            raise KdnasError("give a run folder, or --storage URL (and --study NAME) of a study")
        return join(flags)
    for name in flags.keys() - {"threads", "device"}:
        option = name.replace("_", "-")
        raise KdnasError(f"--{option} goes with --storage; {folder} has its settings already")
    opened = Run.open(folder)
    opened.settings = validated({**opened.settings.model_dump(), **flags})
    return opened


def _finish(folder: Path, work: Any) -> None:
    from kdnas.report.terminal import closing_lines

    result = _interruptible(f"resume {folder}", work)
    for line in closing_lines(result, str(folder)):
        say(line)


def _interruptible(command: str, work: Any) -> Any:
    try:
        return work()
    except KeyboardInterrupt:
        say(f"interrupted; go on with: kdnas {command}")
        raise
