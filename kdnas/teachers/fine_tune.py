"""Steps 1 and 3: a teacher that knows its task, and its signal for a data set."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError

from kdnas.config import Settings
from kdnas.config.stages import LABELS_ONLY
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.weighted import WeightedLosses
from kdnas.distillation.outputs import State
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signal import LiveSignal, NoSignal
from kdnas.distillation.training import train
from kdnas.errors import KdnasError
from kdnas.files.atomic import replace_folder
from kdnas.files.locks import file_lock
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.cache import cache_folder, teacher_key
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import (
    SignalStore,
    build_store,
    holds,
    states_key,
    store_bytes,
    store_key,
)

DISK_SHARE = 0.5


def fine_tune_teacher(
    teacher: Teacher, data: EncodedExamples, settings: Settings, runtime: Runtime, folder: Path
) -> None:
    """Trains a teacher on its task, in place, and saves it to a folder with its tokenizer.

    A teacher that was trained alike before, for another run, is taken from the cache.
    """
    schedule = Schedule(
        settings.teacher_epochs, settings.teacher_lr, settings.batch_size, settings.seed
    )
    key = teacher_key(teacher, data, schedule=asdict(schedule), precision=runtime.precision)
    cached = cache_folder() / "teachers" / key
    cached.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(cached.with_suffix(".lock"), "another process fine-tunes the same teacher"):
        checkpoint = folder.with_name("teacher.pt")
        if not _found(teacher, cached):
            fine_tune(teacher, data, schedule, runtime, checkpoint, "teacher fine-tuning")
            with replace_folder(cached) as partial:
                teacher.model.save_pretrained(partial)
                teacher.tokenizer.save_pretrained(partial)
        with replace_folder(folder) as partial:
            shutil.copytree(cached, partial, dirs_exist_ok=True)
        checkpoint.unlink(missing_ok=True)
    teacher.has_head = True


def _found(teacher: Teacher, cached: Path) -> bool:
    if not cached.exists():
        return False
    try:
        teacher.model = type(teacher.model).from_pretrained(cached).eval()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        say(f"the fine-tuned teacher in {cached} is unusable ({error}); training it again")
        return False
    say(f"it was fine-tuned alike before: {cached}")
    return True


def fine_tune(
    teacher: Teacher,
    data: EncodedExamples,
    schedule: Schedule,
    runtime: Runtime,
    checkpoint: Path,
    title: str,
) -> None:
    """Trains a classifier on labels alone, in place; a killed training goes on from its file."""
    train(
        teacher.model,
        WeightedLosses({name: (weight, LOSSES[name]()) for name, weight in LABELS_ONLY.items()}),
        data,
        NoSignal(),
        schedule,
        runtime,
        pad_id=teacher.pad_id,
        title=title,
        checkpoint=checkpoint,
        team=runtime.team,
    )


def open_or_build_store(
    teacher: Teacher,
    data: EncodedExamples,
    states: Collection[State],
    runtime: Runtime,
) -> SignalStore:
    """The teacher's signal for some data: found in the cache, or computed now.

    A store that holds more states serves, too. A damaged one is named, thrown away and built again.

    Raises:
        KdnasError: The disk is too small for it.
    """
    root = cache_folder() / "signal" / store_key(teacher, data, runtime.precision)
    root.mkdir(parents=True, exist_ok=True)
    folder = root / states_key(states)
    with file_lock(root.with_suffix(".lock"), "another process stores the teacher's signal"):
        others = (path for path in sorted(root.iterdir()) if holds(path, states))
        for found in (folder, *others):
            if found.exists():
                try:
                    return SignalStore.open(found)
                except (OSError, ValueError, KeyError) as error:
                    say(f"the teacher's signal store is unusable ({error}); building it again")
        needed = store_bytes(teacher, data, states)
        free = shutil.disk_usage(folder.parent).free
        if needed > free * DISK_SHARE:
            raise KdnasError(
                f"the teacher's signal needs {needed / 1e9:.1f} GB in {folder.parent}, where "
                f"{free / 1e9:.1f} GB are free; lower --proxy-fraction or set KDNAS_CACHE to a "
                "larger disk"
            )
        return build_store(folder, teacher, data, states, runtime)


def stored_or_live(
    teacher: Teacher,
    data: EncodedExamples,
    states: Collection[State],
    runtime: Runtime,
) -> SignalStore | LiveSignal:
    """A store where the disk has room for it, else the teacher itself, asked at every step."""
    try:
        return open_or_build_store(teacher, data, states, runtime)
    except KdnasError as error:
        say(f"{error}; running the teacher at every step instead")
        return LiveSignal(teacher.model, runtime)
