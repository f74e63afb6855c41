"""What losses learn from a teacher alone, once for all of its students: views of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdnas.distillation.batches import batches_once
from kdnas.distillation.losses import TeacherView
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import OutputRequest, State
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import train
from kdnas.files.artifact import Artifact
from kdnas.files.cache import use
from kdnas.files.curves import Record
from kdnas.files.locks import file_lock
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples
from kdnas.teachers.cache import about, hash_of, teacher_key
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher


def learn_views(
    views: Mapping[State, TeacherView],
    teacher: Teacher,
    rows: EncodedExamples,
    batch_size: int,
    runtime: Runtime,
    record: Record,
) -> None:
    """Sets views to what they learn of a teacher: from the cache, or trained now and cached.

    They read the teacher's signal for the rows, so that it does not run again; another process that
    trains the same view is waited for.

    Args:
        views: With untrained weights; on return they are as learnt, on the runtime's device.
        teacher: On the runtime's device.
        rows: Labelled examples of the task.
        batch_size: Examples a step.
        runtime: Device and precision.
        record: Takes note of each training.
    """
    schedules = {s: Schedule(view.epochs, view.lr, batch_size) for s, view in views.items()}
    artifacts = {
        state: _artifact(view, teacher, rows, schedules[state], runtime.precision)
        for state, view in views.items()
    }
    data: DistillationData | None = None
    for state, view in views.items():
        artifact, doing = artifacts[state], f"another process trains the teacher's {view.title}"
        with file_lock(artifact.path.with_suffix(".lock"), doing):
            if not artifact.done():
                missing = [views[s] for s in views if not artifacts[s].done()]
                data = data or _signal(missing, teacher, rows, runtime)
                _train(view, data, schedules[state], runtime, artifact, record)
        view.load_state_dict(artifact.read(), strict=False)
        view.to(runtime.device).eval()


def _artifact(
    view: TeacherView, teacher: Teacher, rows: EncodedExamples, schedule: Schedule, precision: str
) -> Artifact[dict[str, Tensor]]:
    """What a view learnt, in the cache; the key is all that decides it."""
    key = {
        **view.key,
        "schedule": asdict(schedule),
        "teacher": teacher_key(teacher, rows, precision=precision),
        "class_weights": None if rows.class_weights is None else rows.class_weights.tolist(),
    }

    def save(tensors: dict[str, Tensor], file: Path) -> None:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, file)

    file = use("views", f"{hash_of(key)}.safetensors", about(teacher, rows))
    return Artifact(file, key, load_file, save, is_folder=False)


def _signal(
    views: list[TeacherView], teacher: Teacher, rows: EncodedExamples, runtime: Runtime
) -> DistillationData:
    """The teacher's signal that some views read."""
    request = OutputRequest()
    for view in views:
        request |= view.of_teacher
    return DistillationData.prepare(teacher, rows, request, runtime)


def _train(
    view: TeacherView,
    data: DistillationData,
    schedule: Schedule,
    runtime: Runtime,
    artifact: Artifact[dict[str, Tensor]],
    record: Record,
) -> None:
    """Trains a view, the teacher frozen, and keeps it; a killed training goes on."""
    checkpoint = artifact.path.with_suffix(".pt")
    trained = train(
        data.teacher.model,
        WeightedLosses({"view": (1.0, view)}),
        data.data,
        data.source,
        schedule,
        runtime,
        pad_id=data.teacher.pad_id,
        title=f"teacher: {view.title}",
        remedy=view.remedy,
        checkpoint=checkpoint,
        freeze_model=True,
        team=runtime.team,
    )
    view.spread.copy_(_spread(view, data, runtime))
    artifact.write(view.learnt())
    checkpoint.unlink(missing_ok=True)
    record("teacher", view.title, trained.curve)


@torch.no_grad()
def _spread(view: TeacherView, data: DistillationData, runtime: Runtime) -> Tensor:
    """Mean and variance of what a view makes, over all real tokens: shape (2, width)."""
    sums, count = torch.zeros(2, view.width, dtype=torch.float64), 0
    for batch in batches_once(data.data, data.teacher.pad_id, runtime.device):
        made = view.view(data.source.fetch(batch, view.of_teacher))
        exact = (made if made.is_cuda else made.cpu()).double()
        sums += torch.stack([exact.sum(0), exact.square().sum(0)]).cpu()
        count += len(made)
    mean, square = sums / max(1, count)
    return torch.stack([mean, (square - mean.square()).clamp_min(0)]).float()
