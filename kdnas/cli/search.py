"""The commands that make a run and work on it: search, resume, worker, space, distill."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kdnas.cli.options import (
    OF_A_SEARCH,
    ConfigFile,
    DryRun,
    RunFolder,
    interruptible,
    of_the_run,
    spelled,
    with_settings,
)
from kdnas.config import Settings, load_settings, validated
from kdnas.config.groups import OF_FULL_KD, OF_SCORING, OF_THE_TEACHER, is_of_a_search
from kdnas.config.storage_url import absolute
from kdnas.errors import KdnasError
from kdnas.runtime.console import conclude, say

if TYPE_CHECKING:
    from kdnas.runs.context import Context
    from kdnas.runs.run_folder import Run
    from kdnas.workflow.planning.forecast import Forecast

# A command's time counts from here on: what it imports and reads takes a while.
BEGAN = time.monotonic()
# What may lie elsewhere on a worker's machine.
PLACES = {
    "storage": "Optuna storage URL of a study that began on another machine.",
    "study": "Its name in the storage; default: kdnas.",
    "out": "This machine's run folder for it; default: runs/worker-HOST-STUDY-HASH.",
    "teacher": "Its teacher here, hub id or folder; default: the study's.",
    "teacher_predictions": "Its black-box teacher's file here; default: the study's.",
    "student_base": "Its student base here, hub id or folder; default: the study's.",
    "task": "Its task here, a name or a YAML file; default: the study's.",
    "data_dir": "Its data here; default: the study's folder, else KDNAS_DATA_DIR, else the hub.",
    "corpus": "Its corpus here; default: the study's.",
    "general_teacher": "Its teacher of general stages here; default: the study's.",
}
# Options of one student: a search refuses them and says what to use.
OF_ONE_STUDENT = ("architecture", "sparsity", "kept_layers", "assistants")
# The settings that stand beside --trial as well as beside --architecture.
BESIDE_A_TRIAL = {
    "threads": "CPU threads, or auto; default: the run's; of a new run: torch decides.",
    "jobs": "Students in training side by side, or auto; default: the run's; of a new run: auto.",
    "device": "cpu, cuda or mps; default: the run's; of a new run: the fastest available.",
    "final_seeds": f"{Settings.model_fields['final_seeds'].description} Default: the run's; of a "
    "new run: 1.",
    "controls": f"{Settings.model_fields['controls'].description} Default: the run's; of a new "
    "run: they are trained.",
}


@with_settings(hidden=OF_ONE_STUDENT)
def search(flags: dict[str, Any], *, config: ConfigFile = None, dry_run: DryRun = False) -> None:
    """Find, distil and evaluate the best student of a teacher for a task.

    Without --teacher and --task it runs the embedded example.
    """
    settings = load_settings(config, flags)
    from kdnas.evaluation.early import check_task_chosen
    from kdnas.workflow.preparing.early import check_purpose, check_settings

    check_purpose(settings, searches=True)
    check_task_chosen(settings, config)
    check_settings(settings)
    from kdnas.workflow.api import new_run

    _finish(new_run(config, flags, planned=dry_run), dry_run=dry_run)


@with_settings(
    trials="Total number of candidates, those already scored included; default: the run's.",
    **OF_A_SEARCH,
    **of_the_run(
        "budget",
        "finalists",
        "force",
        "final_seeds",
        "controls",
        "track",
        *OF_THE_TEACHER,
        *OF_SCORING,
        *OF_FULL_KD,
    ),
)
def resume(
    flags: dict[str, Any],
    run: RunFolder,
    *,
    config: ConfigFile = None,
    rebuild_study: bool = typer.Option(
        False,
        "--rebuild-study",
        help="First make a lost or damaged study again, from trials.csv, the log and the students "
        "of trials.",
    ),
    finish: bool = typer.Option(
        False, "--finish", help="Try no further candidate: distil the best so far, and ship it."
    ),
    dry_run: DryRun = False,
) -> None:
    """Continue a run that stopped, or give it more trials or time.

    --trials and --budget are the new totals; time that was spent before counts. Settings of a
    training may change until its result is there; with other settings of full KD the student is
    trained again.
    """
    from kdnas.workflow.preparing.early import open_to_resume

    if dry_run and rebuild_study:
        raise KdnasError("--dry-run and --rebuild-study contradict each other: give one of them")
    opened = open_to_resume(run, config or (), finish=finish, **flags)
    _finish(opened, rebuild_study=rebuild_study, finish=finish, dry_run=dry_run)


def _finish(
    run: Run, *, rebuild_study: bool = False, finish: bool = False, dry_run: bool = False
) -> None:
    """Takes a run's last steps and prints the result, or only says what they are."""
    if dry_run:
        from kdnas.workflow.pipeline import plan_search

        tell(run, partial(plan_search, finish=finish))
        return
    from kdnas.report.terminal import closing_lines
    from kdnas.workflow.api import complete, load_run

    again = f"resume {run.folder}{' --finish' * finish}"
    how: dict[str, Any] = {"rebuild_study": rebuild_study, "finish": finish, "began": BEGAN}
    interruptible(again, lambda: complete(run, **how))
    report = load_run(run.folder).report
    assert report is not None
    conclude(report.model_dump(mode="json"), closing_lines(report, run.folder))


def tell(run: Run, make: Callable[[Context], Forecast]) -> None:
    """Prints what a command would do."""
    from kdnas.workflow.api import plan_of

    told = plan_of(run, make)
    conclude(told.described, told.lines)


@with_settings(**PLACES, **OF_A_SEARCH)
def worker(
    flags: dict[str, Any],
    *,
    run: Path | None = typer.Argument(
        None, help="A run folder; without one, --storage names the study."
    ),
    dry_run: DryRun = False,
) -> None:
    """Join a running study from another process or machine.

    Works until the study has all its trials.
    """
    opened = _joined(run, flags)
    name = opened.settings.study
    say(f"joining the study {name} of {opened.folder}")
    from kdnas.runs.context import open_context
    from kdnas.study.join import identity, share_threads
    from kdnas.workflow.pipeline import plan_work, work_on_study

    opened.settings = share_threads(opened.settings, opened.folder)
    check = identity(opened) is not None
    if dry_run:
        tell(opened, lambda context: plan_work(context, check=check))
        return
    with opened.forgotten_if_refused():
        interruptible(
            f"worker {opened.folder}{spelled(flags if run else {})}",
            lambda: work_on_study(open_context(opened), check=check),
        )
    conclude({"study": name}, [f"study {name}: no work left"])


def _joined(folder: Path | None, flags: dict[str, Any]) -> Run:
    """The run to work on: an existing one, or a new folder for a study that began elsewhere."""
    from kdnas.runs.run_folder import Run

    if folder is None:
        if "storage" not in flags:
            raise KdnasError("no study given: name a run folder, or --storage URL and --study NAME")
        absolute(validated(flags).storage or "")
        from kdnas.study.join import join

        return join(flags)
    for name in flags.keys() - OF_A_SEARCH.keys():
        option = name.replace("_", "-")
        raise KdnasError(f"--{option} needs --storage: {folder} has its own settings")
    opened = Run.open(folder)
    from kdnas.study.whole import check_searches

    check_searches(opened)
    from kdnas.study.join import identity, rejoin

    opened = opened if identity(opened) is None else rejoin(opened)
    opened.settings = validated({**opened.settings.model_dump(), **flags})
    return opened


@with_settings("teacher", "search_over", "recipes", "vocabularies", "corpus")
def space(flags: dict[str, Any], *, config: ConfigFile = None) -> None:
    """Show the students that a search of a teacher would choose from.

    With --search-over, --recipes or --vocabularies also the recipes, the vocabularies and pruned
    students. Of --recipes all, those count that a search of this teacher can use; tasks may have
    no use for some more.
    """
    from kdnas.files.checkpoints import check_checkpoint

    settings = load_settings(config, flags)
    if settings.base:
        check_checkpoint(settings.base)
    from kdnas.workflow.describe_space import describe, lines

    described = describe(settings)
    conclude(described, lines(described))


@with_settings(
    *(n for n in Settings.model_fields if not (is_of_a_search(n) or n in BESIDE_A_TRIAL)),
    **BESIDE_A_TRIAL,
)
def distill(
    flags: dict[str, Any],
    *,
    run: Path | None = typer.Argument(
        None, help="A run folder made by kdnas search, for --trial or --speedup."
    ),
    trial: int | None = typer.Option(None, help="Number of the trial of RUN to distil."),
    speedup: str | None = typer.Option(
        None,
        help="Distil the best trial of RUN at least this fast; with --pruned, how fast the student "
        "shall be, or several: 2,4,8.",
        metavar="FLOAT",
    ),
    config: ConfigFile = None,
    dry_run: DryRun = False,
) -> None:
    """Distil one student without a search: of a shape, or pruned.

    With --architecture, the teacher is fine-tuned if need be, the student distilled by the recipe,
    its control trained on labels alone, and all are evaluated, in a run folder of its own (--out).

    With --pruned and --speedup or --sparsity, the student is the teacher without the heads and
    neurons that matter least. Several speed-ups (--speedup 2,4,8) give a student each, every one
    pruned from the one before it.

    With RUN and --trial or --speedup, the student of that trial goes to RUN/students/trial-N. Its
    controls are trained beside it: the same student on labels alone, and a hand-picked one.

    With --assistants, students teach in the teacher's place: ones of a shape (4x384) or pruned ones
    that are trained for it, other trials of RUN, or any checkpoint.
    """
    from kdnas.workflow.preparing.early import check_trial_options

    if run is None:
        _distil_shape(flags, config, trial, speedup, dry_run=dry_run)
        return
    check_trial_options(run, [*flags, *(["config"] if config else [])])
    _distil_trial(flags, run, trial, speedup, dry_run=dry_run)


def _distil_shape(
    flags: dict[str, Any],
    config: list[Path] | None,
    trial: int | None,
    speedup: str | None,
    *,
    dry_run: bool,
) -> None:
    """One student of a given shape, in a run of its own."""
    from kdnas.evaluation.early import check_task_chosen
    from kdnas.workflow.preparing.early import check_purpose, check_settings, shape_flags

    flags = shape_flags(trial, speedup, flags)
    settings = load_settings(config, flags)
    check_purpose(settings, searches=False)
    check_task_chosen(settings, config)
    check_settings(settings)
    from kdnas.workflow.api import new_run

    _finish(new_run(config, flags, searches=False, planned=dry_run), dry_run=dry_run)


def _distil_trial(
    flags: dict[str, Any], run: Path, trial: int | None, speedup: str | None, *, dry_run: bool
) -> None:
    """The student of another trial, below the folder of its run."""
    from kdnas.runs.run_folder import Run
    from kdnas.workflow.preparing.early import check_assistants_of_trial, check_choice

    wanted, asked = check_choice(trial, speedup), spelled(flags)
    words = check_assistants_of_trial(trial, flags.pop("assistants", None))
    opened = Run.open(run, **flags)
    if dry_run:
        from kdnas.workflow.another_trial import plan_trial

        tell(opened, lambda context: plan_trial(context, trial, wanted, words))
        return
    from kdnas.report.terminal import closing_lines
    from kdnas.workflow.api import distill_trial

    which = f"--trial {trial}" if speedup is None else f"--speedup {speedup}"
    distilled = interruptible(
        f"distill {run} {which}{asked}",
        lambda: distill_trial(opened, trial, wanted, words),
    )
    report = distilled.report
    conclude(report.model_dump(mode="json"), closing_lines(report, run, distilled.folder))
