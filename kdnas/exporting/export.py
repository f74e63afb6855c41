"""kdnas export: one folder with a student in the formats asked for, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Any

from kdnas.config import nearest
from kdnas.config.arguments import OF_THE_RANGE, check_number, check_whole
from kdnas.errors import KdnasError
from kdnas.exporting.onnx import FILES, export_onnx
from kdnas.exporting.push import check_login, push
from kdnas.exporting.readme import append_readme
from kdnas.files.artifact import MANIFEST, content_of
from kdnas.files.atomic import check_writable, replace_folder, write_json, write_text
from kdnas.files.disk import existing
from kdnas.measure.onnx import require_onnx
from kdnas.runs.run_folder import Run
from kdnas.runs.student import (
    ASIDE,
    command_for,
    finished_student,
    is_reported,
    tell_unfinished,
)
from kdnas.runtime.jobs import job
from kdnas.students.checkpoint import CARD, card_at, card_without_code, load_checked

# torch: the plain checkpoint; the others are files that ONNX Runtime reads.
FORMATS = ("torch", *FILES)


@job()
def export(
    run: Run | PathLike[str] | str,
    formats: str | Iterable[str] = ("torch",),
    *,
    trial: int | None = None,
    student: str | None = None,
    out: Path | str | None = None,
    max_drop: float = 0.01,
    timing: bool = True,
    push_to_hub: str | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Exports a run's student: as a checkpoint, for ONNX Runtime, to the hub.

    Nothing is written unless the student's files are undamaged. ONNX files are checked against
    PyTorch, scored on the task and timed beside the teacher.

    Args:
        run: A finished run or its folder.
        formats: `torch`, `onnx`, `int8`; one word may hold several between commas.
        trial: Whose student, of those that `kdnas distill` made; None for the winner.
        student: The folder below the run of another report, such as `family/2x`.
        out: The folder to write; default: `export` beside the student, and none where only
            `torch` is pushed.
        max_drop: How much of the main score int8 may lose, as a share of the score's range.
        timing: Whether ONNX files are timed.
        push_to_hub: A repository, `user/name`, to upload to.
        private: Whether a new repository is private.

    Returns:
        `folder` where one was written, with the content of its export.json, and `pushed`, the
        repository's address.

    Raises:
        KdnasError: No format is named, the student is missing or damaged, `out` is not empty or
            cannot be written, ONNX Runtime is missing, an ONNX file differs from PyTorch, int8
            loses too much, or the hub refuses.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    check_whole("trial", trial, 0)
    check_number("max_drop", max_drop, 0, 1, OF_THE_RANGE)
    wanted = _wanted(formats)
    source = finished_student(run.folder, trial, student)
    files = [name for name in wanted if name in FILES]
    target = Path(out or source.with_name("export")) if out or files or not push_to_hub else None
    if target:
        _check_target(target)
    if files:
        require_onnx(f"--format {','.join(files)}")
    if push_to_hub:
        _check_push(run, source, trial, push_to_hub)
    if source.parent == run.folder:
        tell_unfinished(run.folder)
    model, tokenizer = load_checked(run.folder, trial, student)
    result: dict[str, Any] = {}
    if target:
        with replace_folder(target) as partial:
            _copy_student(source, partial, target, whole="torch" in wanted)
            if files:
                size = sum(file.stat().st_size for file in source.glob("*.safetensors"))
                given = (run, model, tokenizer, size, partial, files)
                found = export_onnx(*given, max_drop=max_drop, timing=timing)
                made_of = {"trial": trial, "student": content_of(source)}
                result = {**made_of, "formats": wanted, **found}
                write_json(partial / "export.json", result)
                append_readme(partial, result, whole="torch" in wanted)
        result = {"folder": str(target), **result}
    if push_to_hub:
        result["pushed"] = push(target or source, push_to_hub, private)
    return result


def _wanted(formats: str | Iterable[str]) -> list[str]:
    """The formats that are named, in the order of FORMATS; KdnasError for none or an unknown."""
    words = [formats] if isinstance(formats, str) else formats
    named = [name.strip() for word in words for name in word.split(",")]
    for name in named:
        if name not in FORMATS:
            raise KdnasError(f"invalid --format {name!r}{nearest(name, FORMATS)}")
    if not named:
        raise KdnasError(
            f"invalid --format, none is named: expected one or several of {', '.join(FORMATS)}"
        )
    return [name for name in FORMATS if name in named]


def _check_target(target: Path) -> None:
    """Raises KdnasError where a folder holds something or cannot be written."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise KdnasError(f"{target} is not empty; choose another --out")
    check_writable(existing(target.parent), "choose another --out")


def _check_push(run: Run, source: Path, trial: int | None, repository: str) -> None:
    """Raises KdnasError where a student has no card, or the hub would refuse it."""
    shipped = run.folder / "student"
    if source == run.folder / ASIDE and is_reported(shipped):
        raise KdnasError(
            f"{source} has no model card: another student ships; leave --trial out to push "
            f"{shipped}, or leave --push-to-hub out and upload the export yourself: `hf upload "
            f"{repository} FOLDER`"
        )
    if not _has_card(source):
        again = command_for(run.folder, trial if source.parent.parent.name == "students" else None)
        raise KdnasError(f"{source} has no model card yet; finish it with {again}")
    check_login(repository)


def _has_card(source: Path) -> bool:
    """Whether a student has a model card, and not that of an earlier report."""
    return (source / CARD).exists() and is_reported(source)


def _copy_student(source: Path, folder: Path, target: Path, *, whole: bool) -> None:
    """Copies a student, its card as it reads in the target; unless `whole` without weights."""
    left_out = () if whole else ("*.safetensors*", MANIFEST)
    _copy(source, folder, left_out if _has_card(source) else (*left_out, CARD))
    if (card := folder / CARD).exists():
        text = card_at(card.read_text(encoding="utf-8"), target.resolve())
        write_text(card, text if whole else card_without_code(text))


def _copy(source: Path, folder: Path, left_out: Sequence[str]) -> None:
    """Copies the files below a folder; OSError at the first that cannot be copied."""
    for file in sorted(source.rglob("*")):
        if file.is_file() and not any(fnmatch(file.name, pattern) for pattern in left_out):
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
