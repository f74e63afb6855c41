"""kdnas export: the student for transformers, ONNX Runtime or the hub."""

from __future__ import annotations

from pathlib import Path

import typer

from kdnas.cli.options import RunFolder
from kdnas.config.arguments import OF_THE_RANGE, check_number
from kdnas.runtime.console import conclude


def _formats() -> list[str]:
    from kdnas.exporting.export import FORMATS

    return list(FORMATS)


def export(
    run: RunFolder,
    *,
    out: Path | None = typer.Option(
        None,
        help="Folder to write; default: RUN/export, none if only the checkpoint is pushed.",
        metavar="FOLDER",
    ),
    format: list[str] | None = typer.Option(
        None,
        help="torch (the plain checkpoint), onnx, int8; separate several by commas, or repeat.",
        metavar="torch|onnx|int8",
        autocompletion=_formats,
    ),
    trial: int | None = typer.Option(
        None, help="The student of this trial, from kdnas distill; default: the winner."
    ),
    student: str | None = typer.Option(
        None,
        help="The student of another report of the run, such as family/2x.",
        metavar="FOLDER",
    ),
    max_drop: float = typer.Option(
        0.01,
        help="How much of the main score int8 may lose, from 0 to 1, as a share of the score's "
        "range; 0.01: 1 point of 100.",
    ),
    timing: bool = typer.Option(True, help="Time the ONNX files beside student and teacher."),
    push_to_hub: str | None = typer.Option(
        None, help="Upload the folder to this repository of the Hugging Face hub.", metavar="REPO"
    ),
    private: bool = typer.Option(False, "--private", help="Make a new repository private."),
) -> None:
    """Write a run's student for transformers, ONNX Runtime or the hub.

    The student's files are checked first. ONNX files are checked against PyTorch, scored on the
    task, and timed beside the teacher.
    """
    check_number("--max-drop", max_drop, 0, 1, OF_THE_RANGE)
    from kdnas.runs.run_folder import Run
    from kdnas.runs.student import finished_student

    finished_student(Run.open(run).folder, trial, student)
    from kdnas.exporting.export import export as write
    from kdnas.exporting.readme import serving_lines, table_lines

    result = write(
        run,
        format or ["torch"],
        trial=trial,
        student=student,
        out=out,
        max_drop=max_drop,
        timing=timing,
        push_to_hub=push_to_hub,
        private=private,
    )
    lines = table_lines(result) if "models" in result else []
    if "folder" in result:
        lines += [f"wrote {result['folder']}", *serving_lines(result)]
    lines += [f"pushed to {result['pushed']}"] if "pushed" in result else []
    conclude(result, lines)
