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
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; default: RUN/export, or none with --push-to-hub."),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(help="Upload it, with its card, to this repository.", metavar="REPO"),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
) -> None:
    """Copy a run's student to a folder or the hub as a plain transformers checkpoint."""
    from kdnas.run import Run
    from kdnas.student.push import check_login, push
    from kdnas.student.ship import check_student, export_student

    student = Run.open(run).folder / "student"
    check_student(student)
    if push_to_hub:
        check_login(push_to_hub)
    if out or not push_to_hub:
        target = out or run / "export"
        export_student(student, target)
        say(f"wrote {target}")
    if push_to_hub:
        say(f"pushed to {push(out or student, push_to_hub, private)}")
