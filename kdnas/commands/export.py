"""kdnas export: the student, to be served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdnas.commands.shared import RunFolder
from kdnas.console import conclude


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
    conclude({"folder": str(target)}, [f"wrote {target}"])
