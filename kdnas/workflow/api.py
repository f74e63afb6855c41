"""The Python API: what the commands do, as functions.

`from kdnas import search, distill, predict, evaluate, export, load_run, Candidate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from kdnas.config import Settings, load_settings, read_yaml
from kdnas.config.groups import is_of_a_search
from kdnas.evaluation.early import check_task_chosen
from kdnas.report import Report
from kdnas.report.data import read_run
from kdnas.report.trials_table import finished, front
from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.runs.student import own_student
from kdnas.runtime.console import say
from kdnas.runtime.jobs import job
from kdnas.tasks import DEFAULT_TASK, load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.workflow.another_trial import distil_another
from kdnas.workflow.pipeline import find_student
from kdnas.workflow.planning.forecast import Forecast
from kdnas.workflow.preparing.early import (
    check_assistants_of_trial,
    check_choice,
    check_purpose,
    check_settings,
    check_trial_options,
    open_to_resume,
    shape_flags,
)
from kdnas.workflow.preparing.inputs import with_latency_input
from kdnas.workflow.search_over import with_search_over, with_speed_limit

EMBEDDED = Path(__file__).parent.parent / "config/embedded.yaml"

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """A run folder, read; `predict`, `evaluate`, `export` and `resume` take it as its path.

    Attributes:
        folder: The run folder.
        settings: Every option, resolved.
        trials: The trial table, a row a trial, as in trials.csv; empty without a search.
        held: The same, where a second timing contradicts the first with its speed-up and reward.
        report: Scores, costs and controls; None while no student is finished.
        student: Folder of the finished checkpoint; None while there is none.
    """

    folder: Path
    settings: Settings
    trials: pd.DataFrame
    held: pd.DataFrame
    report: Report | None
    student: Path | None

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        state = "not reported yet" if self.student else "no student yet"
        state = self.report.verdict if self.report else state
        return f"LoadedRun({str(self.folder)!r}: {state})"

    @property
    def scored(self) -> pd.DataFrame:
        """Trials that were scored, each candidate once."""
        return finished(self.trials)

    @property
    def front(self) -> pd.DataFrame:
        """Trials that no other beats in both score and speed-up as they held, the fastest first."""
        return front(self.held)


@dataclass(frozen=True, repr=False)
class Distilled:
    """A student that `distill` made; `predict` and `evaluate` take it as its checkpoint's path.

    Attributes:
        folder: Holds `student/`, `controls/` and `report.json`.
        report: Its scores and costs beside teacher and controls.
    """

    folder: Path
    report: Report

    @property
    def student(self) -> Path:
        """The checkpoint; of a trial its own, also where another student of its run ships."""
        search = self.report.search
        trial = search.winner if search else None
        own = None if trial is None else own_student(self.folder, trial)
        return own or self.folder / "student"

    def __fspath__(self) -> str:
        return str(self.student)

    def __repr__(self) -> str:
        return f"Distilled({str(self.folder)!r}: {self.report.verdict})"


@job()
def search(
    teacher: str | Path | None = None,
    task: str | Path | None = None,
    *,
    config: Paths | None = None,
    **options: Any,
) -> LoadedRun:
    """Finds, distils and evaluates the best student of a teacher for a task.

    Args:
        teacher: Hub id or folder; default: the embedded MiniLM.
        task: A task's name or YAML file; default: the embedded Rotten Tomatoes snippets.
        config: YAML file or files that set any option; arguments override them.
        options: Any option of `kdnas search`, with underscores: `out`, `trials`, `speedup`, ...;
            None lifts a limit that a file sets. Where nothing says what a student is to cost, it is
            at least twice as fast as its teacher; `speedup=None` lifts that.

    Returns:
        The finished run.

    Raises:
        KdnasError: Bad input, before anything is computed; another thread has a job; or no
            candidate meets the limits.
    """
    named = {"teacher": teacher, "task": task}
    flags = {k: str(v) for k, v in named.items() if v is not None} | options
    return load_run(complete(new_run(config, flags)).folder)


@job()
def resume(
    run: str | PathLike[str], *, rebuild_study: bool = False, finish: bool = False, **changes: Any
) -> LoadedRun:
    """Goes on with a run that stopped, or gives it more trials or time.

    Args:
        run: The run folder.
        rebuild_study: Whether a lost or damaged study is first made again, from trials.csv, the
            log and the students of trials.
        finish: Whether no further candidate is tried: the best so far is distilled.
        changes: `trials` and `budget` (the new totals), `final_seeds`, `controls`, `threads`,
            `device`; settings of a training, until its result is there; settings of full KD: the
            student is then trained again.

    Raises:
        KdnasError: The folder holds no run, its study is lost, a change is not possible, or a new
            total stands beside `finish`.
    """
    opened = open_to_resume(Path(run), finish=finish, **changes)
    return load_run(complete(opened, rebuild_study=rebuild_study, finish=finish).folder)


@job()
def distill(
    run: str | PathLike[str] | None = None,
    *,
    trial: int | None = None,
    speedup: float | None = None,
    teacher: str | Path | None = None,
    task: str | Path | None = None,
    architecture: str | Mapping[str, int | str] | None = None,
    config: Paths | None = None,
    **options: Any,
) -> Distilled:
    """Distils one student beside its controls, without searching: a given shape, or another trial.

    `distill(teacher=T, task=K, architecture="6x256")` distils a shape in a run folder of its own,
    `distill(RUN, trial=7)` another trial of a run's study.

    Args:
        run: The folder of a search, for
        trial: the trial of this number, or
        speedup: the best trial at least this many times as fast as the teacher.
        teacher: Without `run`: hub id or folder; default: the embedded MiniLM.
        task: A task's name or YAML file; default: the embedded Rotten Tomatoes snippets.
        architecture: `6x256`, `6x256-h8-f1024-relu`, `half`, or a mapping such as
            `{"num_hidden_layers": 6, "hidden_size": 256}`.
        config: YAML file or files that set any option; arguments override them.
        options: Of a shape any option of `kdnas distill`, with underscores: `out`, `epochs`, ...;
            of a trial `assistants`, `final_seeds`, `controls`, `threads`, `device`.

    Raises:
        KdnasError: Bad input, before anything is computed; or there is no such trial.
    """
    named = {"teacher": teacher, "task": task, "architecture": architecture, "config": config}
    given = {name: value for name, value in named.items() if value is not None}
    if run is not None:
        check_trial_options(Path(run), [*given, *options])
        least = check_choice(trial, speedup)
        words = check_assistants_of_trial(trial, options.pop("assistants", None))
        return distill_trial(Run.open(Path(run), **options), trial, least, words)
    flags = shape_flags(trial, speedup, {**given, **options})
    flags |= {name: str(flags[name]) for name in ("teacher", "task") if name in flags}
    made = complete(new_run(flags.pop("config", None), flags, searches=False))
    report = load_run(made.folder).report
    assert report is not None
    return Distilled(made.folder, report)


def load_run(run: str | PathLike[str]) -> LoadedRun:
    """Reads a run folder; nothing is computed or written.

    Raises:
        KdnasError: The folder holds no run, or its study cannot be read.
    """
    opened = Run.open(Path(run))
    data = read_run(opened)
    return LoadedRun(
        *(opened.folder, opened.settings, data.table, data.held, data.report, data.student)
    )


def new_run(
    config: Paths | None, flags: dict[str, Any], *, searches: bool = True, planned: bool = False
) -> Run:
    """The run folder of a search or of a given shape, new or of the same settings as before.

    A new one that is only `planned` is a temporary folder; `plan_of` removes it.

    Raises:
        KdnasError: An option is wrong, or the folder holds something else.
    """
    settings = load_settings(config, flags)
    check_purpose(settings, searches=searches)
    check_task_chosen(settings, config)
    if not (settings.teacher or settings.task):
        settings = _embedded_example(config, flags, searches=searches)
    spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
    settings = with_type_defaults(settings, spec)
    check_settings(settings)
    settings = with_search_over(with_speed_limit(with_latency_input(settings)))
    return Run.create(settings, planned=planned)


def complete(
    run: Run, *, rebuild_study: bool = False, finish: bool = False, began: float | None = None
) -> Run:
    """Takes all steps of a run that are still to take; a run refused at once leaves nothing."""
    with run.forgotten_if_refused():
        find_student(open_context(run), rebuild=rebuild_study, finish=finish, began=began)
    return run


def plan_of(run: Run, make: Callable[[Context], Forecast]) -> Forecast:
    """What a command would do in a run; a run that nobody has begun leaves nothing."""
    with run.forgotten():
        return make(open_context(run))


def distill_trial(
    run: Run, trial: int | None, speedup: float | None, assistants: Sequence[str] = ()
) -> Distilled:
    """Distils a trial; raises KdnasError where there is no such trial."""
    return Distilled(*distil_another(open_context(run), trial, speedup, assistants))


def _embedded_example(files: Paths | None, flags: dict[str, Any], *, searches: bool) -> Settings:
    """The short settings of `config/embedded.yaml`, where neither teacher nor task is named."""
    short = read_yaml(EMBEDDED)
    if not searches:
        short = {key: value for key, value in short.items() if not is_of_a_search(key)}
    if load_settings(files, flags).budget is not None:  # time ends the search, not its number
        short.pop("trials")
    say("running the embedded example with the settings of kdnas/config/embedded.yaml")
    return load_settings(files, flags, short)
