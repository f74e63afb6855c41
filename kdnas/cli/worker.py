"""kdnas worker: one more process at a study."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from kdnas.cli.options import with_settings
from kdnas.cli.shared import OF_THE_RUN, interruptible, spelled
from kdnas.errors import KdnasError
from kdnas.runtime.console import conclude, say

# What may lie elsewhere on a worker's machine.
PLACES = {
    "storage": "Optuna storage URL of a study that began on another machine.",
    "study": "Its name in the storage; default: kdnas.",
    "out": "This machine's run folder for it; default: runs/worker-HOST-STUDY-HASH.",
    "teacher": "Its teacher here, hub id or folder; default: the study's.",
    "task": "Its task here, a name or a YAML file; default: the study's.",
    "data_dir": "Its data here; default: the study's folder, else KDNAS_DATA_DIR, else the hub.",
    "corpus": "Its corpus here; default: the study's.",
    "general_teacher": "Its teacher of general stages here; default: the study's.",
}


@with_settings(**PLACES, **OF_THE_RUN)
def worker(
    flags: dict[str, Any],
    *,
    run: Annotated[
        Path | None, typer.Argument(help="A run folder; without one, --storage names the study.")
    ] = None,
) -> None:
    """Join a running study from another process or machine.

    Works until the study has all its trials.
    """
    opened = _joined(run, flags)
    name = opened.settings.study
    say(f"joining the study {name} of {opened.folder}")
    from kdnas.runs.context import open_context
    from kdnas.study.join import share_threads
    from kdnas.workflow.story import work_on_study

    opened.settings = share_threads(opened.settings, opened.folder)
    with nullcontext() if run else opened.forgotten_if_refused():
        interruptible(
            f"worker {opened.folder}{spelled(flags if run else {})}",
            lambda: work_on_study(open_context(opened), check=run is None),
        )
    conclude({"study": name}, [f"study {name}: no work left"])


def _joined(folder: Path | None, flags: dict[str, Any]) -> Any:
    """The run to work on: an existing one, or a new folder for a study that began elsewhere."""
    from kdnas.config import validated
    from kdnas.runs.run_folder import Run
    from kdnas.study.join import join

    if folder is None:
        if "storage" not in flags:
            raise KdnasError("no study given: name a run folder, or --storage URL and --study NAME")
        return join(flags)
    for name in flags.keys() - {"threads", "device"}:
        option = name.replace("_", "-")
        raise KdnasError(f"--{option} needs --storage: {folder} has its own settings")
    opened = Run.open(folder)
    opened.settings = validated({**opened.settings.model_dump(), **flags})
    return opened
