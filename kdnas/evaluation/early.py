"""What an evaluation or a prediction refuses at once, before torch is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.checkpoints import check_checkpoint
from kdnas.runs.run_folder import RUNS
from kdnas.runs.student import finished_student
from kdnas.runtime.shown import quoted, shown
from kdnas.tasks import load_spec


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
        for name in settings.task.split(","):
            load_spec(name.strip(), settings.tasks)


def check_data_variable() -> None:
    """Raises KdnasError where KDNAS_DATA_DIR is no folder."""
    folder = os.environ.get("KDNAS_DATA_DIR")
    if folder and not Path(folder).expanduser().is_dir():
        raise KdnasError(f"invalid KDNAS_DATA_DIR {quoted(folder)}: there is no such folder")
