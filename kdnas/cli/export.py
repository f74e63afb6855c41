"""kdnas export: the student, to be served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdnas.cli.shared import RunFolder
from kdnas.runtime.console import conclude


def _formats() -> list[str]:
    from kdnas.exporting.formats import FORMATS

    return list(FORMATS)


def export(
    run: RunFolder,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; default: RUN/export, or none where --push-to-hub takes the checkpoint."
        ),
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="torch (the plain checkpoint), onnx, int8; several between commas or repeated.",
            metavar="torch|onnx|int8",
            autocompletion=_formats,
        ),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="A student that kdnas distill made; default: the winner.")
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0, help="Main score that int8 may lose; more is refused.")
    ] = 0.01,
    timing: Annotated[
        bool,
        typer.Option("--timing/--no-timing", help="Time ONNX files beside student and teacher."),
    ] = True,
    push_to_hub: Annotated[
        str | None,
        typer.Option(help="Upload it, with its card, to this repository.", metavar="REPO"),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
) -> None:
    """Write a run's student for transformers, ONNX Runtime or the hub.

    ONNX files are checked against PyTorch, scored on the task, and timed beside the teacher.
    """
    from kdnas.exporting.folder import export_run, finished_student
    from kdnas.exporting.formats import read_formats
    from kdnas.exporting.push import check_described, check_login, push
    from kdnas.exporting.show import table_lines
    from kdnas.runs.run_folder import Run

    opened, formats = Run.open(run), read_formats(format or ["torch"])
    folder = finished_student(opened, trial)
    if push_to_hub:
        check_described(folder)
        check_login(push_to_hub)
    lines: list[str] = []
    result: dict[str, Any] = {}
    if out or not push_to_hub or formats != ("torch",):
        folder, summary = export_run(
            opened, formats, trial=trial, target=out, max_drop=max_drop, timing=timing
        )
        lines = [*(table_lines(summary) if summary else ()), f"wrote {folder}"]
        result = {"folder": str(folder), **summary}
    if push_to_hub:
        result["pushed"] = push(folder, push_to_hub, private)
        lines.append(f"pushed to {result['pushed']}")
    conclude(result, lines)
