"""What teachers say of training rows that they were not trained on.

A fine-tuned teacher knows its training rows by heart, so that its outputs for them say little more
than the labels do. Of each part of the rows, a fold, another teacher that is fine-tuned on the rest
says what a teacher makes of rows that are new to it. Dao, Kamath, Syrgkanis and Mackey 2021,
Knowledge Distillation as Semiparametric Inference, call that cross-fitting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import logits_of
from kdnas.files.artifact import Artifact
from kdnas.files.cache import place_of, use
from kdnas.files.locks import file_lock
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples, Indices, ragged_rows
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.load import Teacher

CACHED = "out-of-fold"  # the kind of entry in the cache

Outputs = NDArray[np.float32]


def out_of_fold(
    fresh: Callable[[], Teacher],
    rows: EncodedExamples,
    folds: int,
    schedule: Schedule,
    runtime: Runtime,
) -> Tensor:
    """Outputs for rows by teachers that have not seen them, shape (units, outputs), float32.

    In the unit of the labels. Each fold is cached once it is done; a killed training goes on.

    Args:
        fresh: Loads the teacher before its fine-tuning.
        rows: With labels in their own unit.
        folds: Teachers, each fine-tuned without one of so many parts of the rows; at least 2.
        schedule: Of each; seeds of their own follow the schedule's.
        runtime: Where they train.

    Raises:
        FloatingPointError: A training diverged.
    """
    first = fresh()
    key = _key(first, rows, folds, schedule, runtime)
    folder = use(CACHED, key, f"{first.name}, {folds} parts of {len(rows):,} rows")
    folder.mkdir(parents=True, exist_ok=True)
    found = np.empty((0, 0), np.float32)
    with file_lock(folder.with_suffix(".lock"), "another process trains the same teachers"):
        for fold, part in enumerate(_parts(rows, folds, schedule)):
            outputs = _artifact(folder, key, fold)
            if not outputs.done():
                say(f"fine-tuning teacher {fold + 1} of {folds} that do not see all rows")
                left = np.setdiff1d(np.arange(len(rows)), part)
                own = replace(schedule, seed=schedule.seed + fold + 1)
                given = (rows.take(left), own, runtime, folder / f"{fold}.pt", title_of(fold))
                outputs.write(_outputs_of(fresh(), rows.take(part), *given))
            value = outputs.read()
            if not len(found):
                found = np.empty((int(rows.unit_offsets[-1]), value.shape[1]), np.float32)
            found[ragged_rows(rows.unit_offsets, part)] = value
    return torch.from_numpy(found)


def title_of(fold: int) -> str:
    """What a fold's training is called where progress is shown; the first fold is 0."""
    return f"teacher without part {fold + 1}"


def folds_left(
    teacher: Teacher, rows: EncodedExamples, folds: int, schedule: Schedule, runtime: Runtime
) -> int:
    """How many of the teachers are still to be trained; `teacher` is the one before any."""
    key = _key(teacher, rows, folds, schedule, runtime)
    place = place_of(CACHED, key)
    return sum(not _artifact(place, key, fold).done() for fold in range(folds))


def _key(
    teacher: Teacher, rows: EncodedExamples, folds: int, schedule: Schedule, runtime: Runtime
) -> str:
    how: dict[str, Any] = {"folds": folds, "schedule": asdict(schedule)}
    if rows.class_weights is not None:
        how["class_weights"] = rows.class_weights.tolist()
    return teacher_key(teacher, rows, precision=runtime.precision, **how)


def _artifact(folder: Path, key: str, fold: int) -> Artifact[Outputs]:
    def save(value: Outputs, partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, value)

    return Artifact(folder / f"{fold}.npy", {"folds": key}, np.load, save, is_folder=False)


def _parts(rows: EncodedExamples, folds: int, schedule: Schedule) -> list[Indices]:
    """Which examples each teacher does not see: parts of equally many rows, drawn at random.

    Windows on one row are in one part.
    """
    drawn = np.random.default_rng(schedule.seed).permutation(rows.row_count)
    row_of = np.arange(len(rows)) if rows.rows is None else rows.rows
    return [np.flatnonzero(np.isin(row_of, part)) for part in np.array_split(drawn, folds)]


def _outputs_of(
    teacher: Teacher,
    unseen: EncodedExamples,
    seen: EncodedExamples,
    schedule: Schedule,
    runtime: Runtime,
    checkpoint: Path,
    title: str,
) -> Outputs:
    """What a teacher that is trained on some rows says of others."""
    teacher.model.to(runtime.device)  # type: ignore[arg-type]
    remedy = f"lower --teacher-lr ({schedule.lr:g})"
    fine_tune(teacher, seen, schedule, runtime, checkpoint, title, remedy)
    found = logits_of(teacher.model, unseen, runtime, pad_id=teacher.pad_id)
    checkpoint.unlink(missing_ok=True)
    return found.numpy()
