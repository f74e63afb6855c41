"""Where a run's students are."""

from __future__ import annotations

from pathlib import Path

from kdnas.errors import KdnasError


def finished_student(run: Path, trial: int | None = None) -> Path:
    """The folder of a run's saved student: the winner's, or that of a trial distilled later.

    Raises:
        KdnasError: There is none yet.
    """
    home = run if trial is None else run / "students" / f"trial-{trial}"
    student = home / "student"
    if not student.is_dir():
        raise KdnasError(f"{student} does not exist yet; make it with {command_for(run, trial)}")
    return student


def command_for(run: Path, trial: int | None) -> str:
    """The command that makes a student."""
    if trial is None:
        return f"`kdnas resume {run}`"
    return f"`kdnas distill {run} --trial {trial}`"
