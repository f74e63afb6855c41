"""kdnas export: the student, to be served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdnas.commands.shared import RunFolder
from kdnas.console import say


def export(
    run: RunFolder,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder; default: RUN/export.")] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="torch (the plain checkpoint), onnx, int8; several between commas or repeated.",
            metavar="torch|onnx|int8",
        ),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="A student that kdnas distill made; default: the winner.")
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0, help="Main score that int8 may lose; more is refused.")
    ] = 0.01,
) -> None:
    """Write a run's student to a folder, as a transformers checkpoint or for ONNX Runtime.

    ONNX files are checked against PyTorch, scored on the task, and timed beside the teacher.
    """
    from kdnas.export.folder import export_run
    from kdnas.export.formats import read_formats
    from kdnas.run import Run

    formats = read_formats(format or ["torch"])
    target, lines = export_run(Run.open(run), formats, trial=trial, target=out, max_drop=max_drop)
    for line in lines:
        say(line)
    say(f"wrote {target}")
