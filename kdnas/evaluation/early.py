"""What an evaluation or a prediction refuses at once, before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from kdnas.config import Settings, read_yaml
from kdnas.errors import KdnasError
from kdnas.files.checkpoints import check_checkpoint
from kdnas.runs.run_folder import RUNS
from kdnas.runs.student import finished_student
from kdnas.runtime.shown import quoted, shown
from kdnas.tasks import load_specs


def check_model(model: str) -> None:
    """Raises KdnasError where a model is no run with a student, no checkpoint and no hub id."""
    if not model.strip():
        raise KdnasError(f"invalid MODEL {quoted(model)}: give a run, a checkpoint or a hub id")
    if RUNS in Path(model).parents and not Path(model).exists():  # by its form also a hub's id
        raise KdnasError(
            f"there is no run {shown(model)} here; give a run, a checkpoint or a hub id"
        )
    if (Path(model) / "config.yaml").exists():
        finished_student(Path(model))
    else:
        check_checkpoint(model)


def check_tasks(settings: Settings) -> None:
    """Raises KdnasError where an evaluation names an unknown task."""
    check_data_variable()
    if settings.task and settings.task != "all":
        names = [name.strip() for name in settings.task.split(",")]
        load_specs(names, settings.tasks, "--task")


def check_task_chosen(settings: Settings, files: str | Path | Sequence[str | Path] | None) -> None:
    """Raises KdnasError where the user's tasks are defined and none of any is chosen.

    Args:
        settings: As read from files and flags, without a run's.
        files: Those that were read; the last one with tasks is named.
    """
    if settings.task or not settings.tasks:
        return
    names = list(map(str, settings.tasks))
    read = map(Path, [files] if isinstance(files, str | Path) else files or ())
    where = [shown(file) for file in read if "tasks" in read_yaml(file)]
    raise KdnasError(
        f"no task is chosen: {where[-1] if where else 'tasks'} defines {', '.join(names)}; give "
        f"--task {quote(names[0])} or a line `task: {names[0]}`"
    )


def check_data_variable() -> None:
    """Raises KdnasError where KDNAS_DATA_DIR is no folder."""
    folder = os.environ.get("KDNAS_DATA_DIR")
    if folder and not Path(folder).expanduser().is_dir():
        raise KdnasError(f"invalid KDNAS_DATA_DIR {quoted(folder)}: there is no such folder")
