"""Fine-tuning a teacher on its task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from kdnas.config.recipe import LABELS_ONLY
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import NoSignal
from kdnas.distillation.training import TrainResult, train
from kdnas.files.artifact import Artifact
from kdnas.files.cache import place_of, use
from kdnas.files.curves import Record, forget
from kdnas.files.locks import file_lock
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.types import TASK_TYPES, UNSCALED, LabelScale
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.head import to_label_units, to_standard_units
from kdnas.teachers.load import Teacher

CACHED = "teachers"  # the kind of entry in the cache


def fine_tune_teacher(
    teacher: Teacher,
    data: EncodedExamples,
    schedule: Schedule,
    runtime: Runtime,
    folder: Path,
    record: Record = forget,
    finish: Callable[[], object] = lambda: None,
) -> None:
    """Trains a teacher on its task, in place, and saves it with its tokenizer in a folder.

    A teacher that another run trained in the same way comes from the cache, and writes as the given
    one does. `finish` adds to its config what the run alone knows, before it is saved.
    """
    name = _name_in_cache(teacher, data, schedule, runtime)
    checkpoint = folder.with_name("teacher.pt")

    def make() -> PreTrainedModel:
        remedy = f"lower --teacher-lr ({schedule.lr:g})"
        title = "teacher fine-tuning"
        trained = fine_tune(teacher, data, schedule, runtime, checkpoint, title, remedy)
        record("teacher", "fine-tuning", trained.curve)
        return teacher.model

    about = (
        f"{teacher.name}, {schedule.epochs:g} epochs on {len(data):,} rows, seed {schedule.seed}"
    )
    path = use(CACHED, name, about)
    cached = _artifact(teacher, path, name)
    with file_lock(path.with_suffix(".lock"), "another process fine-tunes the same teacher"):
        if cached.done():
            say(f"found the fine-tuned teacher in {path}")
        elif path.exists():
            say(f"the fine-tuned teacher in {path} is damaged; training it again")
        teacher.model = cached.get(make)
    teacher.has_head = True
    finish()
    replace(cached, path=folder).write(teacher.model)
    checkpoint.unlink(missing_ok=True)


def in_cache(teacher: Teacher, data: EncodedExamples, schedule: Schedule, runtime: Runtime) -> bool:
    """Whether `fine_tune_teacher` would find the teacher in the cache."""
    name = _name_in_cache(teacher, data, schedule, runtime)
    return _artifact(teacher, place_of(CACHED, name), name).done()


def from_cache(
    teacher: Teacher, data: EncodedExamples, schedule: Schedule, runtime: Runtime
) -> Teacher:
    """The teacher that `fine_tune_teacher` would find in the cache.

    Raises:
        DamagedArtifactError: It would find none.
    """
    name = _name_in_cache(teacher, data, schedule, runtime)
    model = _artifact(teacher, place_of(CACHED, name), name).read()
    return replace(teacher, model=model, has_head=True)


def _name_in_cache(
    teacher: Teacher, data: EncodedExamples, schedule: Schedule, runtime: Runtime
) -> str:
    how: dict[str, Any] = {"schedule": asdict(schedule), "precision": runtime.precision}
    if (scale := scale_of(data)) != UNSCALED:
        how["scale"] = scale
    if data.class_weights is not None:
        how["class_weights"] = data.class_weights.tolist()
    return teacher_key(teacher, data, **how)


def _artifact(teacher: Teacher, path: Path, name: str) -> Artifact[PreTrainedModel]:
    """The fine-tuned model of a teacher, with its tokenizer beside it."""
    read: Callable[[Path], PreTrainedModel] = type(teacher.model).from_pretrained
    own = getattr(teacher.model, "generation_config", None)  # none of a model that does not write

    def load(saved: Path) -> PreTrainedModel:
        """Weights do not depend on how a model writes: the cache may hold another way."""
        model = read(saved).eval()
        if own is not None:
            model.generation_config = own
        return model

    def save(model: PreTrainedModel, partial: Path) -> None:
        model.save_pretrained(partial)
        teacher.tokenizer.save_pretrained(partial)

    return Artifact(path, {"teacher": name}, load, save)


def fine_tune(
    teacher: Teacher,
    data: EncodedExamples,
    schedule: Schedule,
    runtime: Runtime,
    checkpoint: Path,
    title: str,
    remedy: str,
) -> TrainResult:
    """Trains a model on labels alone, in place; a killed training goes on from its checkpoint.

    It learns in standard units (see `kdnas.teachers.head`); before and after, its outputs are in
    the unit of the labels.
    """
    scale = scale_of(data)
    if teacher.has_head:
        to_standard_units(teacher.model, scale)
    assert data.labels is not None
    data = data.relabelled(scale.standard(data.labels))
    trained = train(
        teacher.model,
        WeightedLosses({name: (weight, LOSSES[name]()) for name, weight in LABELS_ONLY.items()}),
        data,
        NoSignal(),
        schedule,
        runtime,
        pad_id=teacher.pad_id,
        title=title,
        remedy=remedy,
        checkpoint=checkpoint,
        team=runtime.team,
    )
    to_label_units(teacher.model, scale)
    return trained


def scale_of(train: EncodedExamples) -> LabelScale:
    """The scale of the training labels."""
    assert train.labels is not None
    return TASK_TYPES[train.task_type].label_scale(train.labels)
