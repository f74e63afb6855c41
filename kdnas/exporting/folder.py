"""An export: one folder with a student in the formats asked for, there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.exporting.formats import FILES
from kdnas.exporting.onnx_files import serve
from kdnas.exporting.readme import append_readme
from kdnas.exporting.subject import Subject
from kdnas.files.atomic import replace_folder, write_json
from kdnas.measure.onnx import require_onnx
from kdnas.runs.run_folder import Run

WEIGHTS = "*.safetensors*"
SUMMARY = "export.json"
MAX_DROP = 0.01


def export_run(
    run: Run,
    formats: Sequence[str],
    *,
    trial: int | None = None,
    target: Path | None = None,
    max_drop: float = MAX_DROP,
    timing: bool = True,
) -> tuple[Path, dict[str, Any]]:
    """Exports a run's student, checked and measured where it is no plain checkpoint.

    Args:
        run: A run with a finished student.
        formats: Of `kdnas.exporting.formats`.
        trial: Whose student, of those that `kdnas distill` made; None for the winner.
        target: The folder to write; default: `export` beside the student.
        max_drop: By how much int8 may lower the main score.
        timing: Whether ONNX files are timed, beside the student and the teacher in PyTorch.

    Returns:
        The folder, and the content of its export.json; nothing where there is none, of a plain
        checkpoint.

    Raises:
        KdnasError: There is no such student, the target is not empty, ONNX Runtime is missing, the
            ONNX file does not agree with PyTorch, or int8 lowers the score too much.
    """
    student = finished_student(run, trial)
    target = target or student.with_name("export")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise KdnasError(f"{target} is not empty; choose another --out")
    files = {name: FILES[name] for name in formats if name in FILES}
    if files:
        require_onnx(f"--format {','.join(files)}")
    summary: dict[str, Any] = {}
    with replace_folder(target) as partial:
        left_out = None if "torch" in formats else shutil.ignore_patterns(WEIGHTS)
        shutil.copytree(student, partial, dirs_exist_ok=True, ignore=left_out)
        if files:
            found = serve(Subject(run, student), partial, files, max_drop, timing)
            summary = {"trial": trial, "formats": list(formats), **found}
            write_json(partial / SUMMARY, summary)
            append_readme(partial, summary, whole="torch" in formats)
    return target, summary


def finished_student(run: Run, trial: int | None) -> Path:
    """The folder of a shipped checkpoint: the winner's, or a trial's that was distilled later.

    Raises:
        KdnasError: There is none yet.
    """
    home = run.folder if trial is None else run.folder / "students" / f"trial-{trial}"
    student = home / "student"
    if not (student / "config.json").exists():
        makes = f"resume {run.folder}` finishes the run"
        if trial is not None:
            makes = f"distill {run.folder} --trial {trial}` makes it"
        raise KdnasError(f"{student} holds no student yet; `kdnas {makes}")
    return student
