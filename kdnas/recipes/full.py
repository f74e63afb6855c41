"""Full KD: the same core as mini-KD, stage after stage, on the full data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.config.stages import Stage
from kdnas.distillation.losses.table import TaskLoss
from kdnas.distillation.losses.weighted import WeightedLosses
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signal import NoSignal
from kdnas.distillation.training import train
from kdnas.files.atomic import replace_file
from kdnas.files.curves import Record, forget
from kdnas.files.locks import file_lock
from kdnas.recipes.stages import hidden_of, schedule_of, terms_of, wanted_of
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.students.importance import Importance
from kdnas.students.inherit import take_body
from kdnas.students.initialiser import StudentInitialiser
from kdnas.students.state import StudentState
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.cache import cache_folder, teacher_key
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher

# A general student is made once for all runs, whatever their seed.
GENERAL_SEED = 0
# What a general student depends on, beside its teacher, its corpus and its stages.
GENERAL_SETTINGS = ("inherit", "normalisation", "mapping", "shared_projection")


class StageResources(Protocol):
    """Where stages find their teachers and their data."""

    def teacher(self, stage: Stage) -> Teacher:
        """Who teaches a stage, on the runtime's device."""

    def lesson(self, stage: Stage, wanted: OutputRequest) -> DistillationData:
        """A stage's data with the teacher's signal for them."""


@dataclass(frozen=True)
class GeneralStudent:
    """A student that knows no task, and what of its teacher it was cut from."""

    architecture: Architecture
    distilled: StudentState
    cut: Importance


@dataclass(frozen=True)
class FullKD:
    """Takes students through the stages of a recipe.

    Attributes:
        settings: Of the run.
        runtime: Device and precision.
        classroom: Has the teachers and the data.
        pad_id: Token that fills short rows.
        record: Takes note of each training.
    """

    settings: Settings
    runtime: Runtime
    classroom: StageResources
    pad_id: int
    record: Record = forget

    def run(
        self,
        architecture: Architecture,
        begin: Callable[[], StudentState] | None,
        work: Path,
        title: str,
    ) -> StudentState:
        """A student of an architecture after all stages.

        Args:
            architecture: Its shape.
            begin: Makes what the first stage goes on from; None for a fresh student. A recipe that
                begins with general stages goes on from their result instead.
            work: Folder that a killed run continues from.
            title: Names the student where progress is shown.
        """
        general = tuple(stage for stage in self.settings.recipe if stage.is_general)
        own = self.settings.recipe[len(general) :]
        projects = any(stage.weighs("hidden") for stage in own)
        start = self._start(self._lesson(own[0], architecture, projects))
        distilled = start.student(architecture)
        done = [i for i in reversed(range(len(own))) if (work / own[i].name).exists()]
        following = next((i + 1 for i in done if distilled.load(work / own[i].name)), 0)
        if not following and general:
            distilled = self._after(self.general(architecture, general, title), start)
        elif not following and begin:
            distilled = begin()
        if not following and projects and (general or not begin):
            start.fit(distilled.hidden, distilled)
        for stage in own[following:]:
            lesson = self._lesson(stage, architecture)
            self._train(stage, distilled, lesson, work / stage.name, title)
        return distilled

    def general(
        self, architecture: Architecture, stages: tuple[Stage, ...], title: str
    ) -> GeneralStudent:
        """A student that knows no task yet: from the cache, or trained now and kept there."""
        settings = self.settings.model_copy(update={"seed": GENERAL_SEED})
        whole = replace(self, settings=settings)
        start = whole._start(self.classroom.lesson(stages[0], OutputRequest()))
        folders = [
            whole._general_folder(architecture, stages[: i + 1], start.lesson)
            for i in range(len(stages))
        ]
        lock = folders[-1].with_suffix(".lock")
        with file_lock(lock, "another process trains the same general student"):
            cut = _cut(folders[0].with_suffix(".cut"), start)
            distilled = whole._start(start.lesson, cut).student(architecture)
            if distilled.load(folders[-1]):
                say(f"{title}: found the general student in {folders[-1]}")
                return GeneralStudent(architecture, distilled, cut)
            projects = any(stage.weighs("hidden") for stage in stages)
            start = whole._start(whole._lesson(stages[0], architecture, projects), cut)
            distilled = start.student(architecture)
            if projects:
                start.fit(distilled.hidden, distilled)
            for stage, folder in zip(stages, folders, strict=True):
                if not distilled.load(folder):
                    lesson = whole._lesson(stage, architecture)
                    whole._train(stage, distilled, lesson, folder, title)
        return GeneralStudent(architecture, distilled, cut)

    def _after(self, general: GeneralStudent, start: StudentInitialiser) -> StudentState:
        """The general student with the head of a stage's teacher.

        Head and layers fit each other only if both were cut alike.
        """
        alike = self._start(start.lesson, general.cut)
        distilled = alike.student(general.architecture)
        take_body(distilled.student, general.distilled.student)
        return distilled

    def fine_tune(
        self, student: PreTrainedModel, data: EncodedExamples, work: Path, title: str
    ) -> None:
        """The control without a teacher: labels alone, as many epochs as the task's stages take."""
        own = [stage for stage in self.settings.recipe if not stage.is_general]
        epochs = sum(stage.epochs for stage in own)
        lr = max(stage.lr for stage in own if stage.learns_task)
        trained = train(
            student,
            WeightedLosses({"task": (1.0, TaskLoss())}),
            data,
            NoSignal(),
            Schedule(epochs, lr, self.settings.batch_size, self.settings.seed),
            self.runtime,
            pad_id=self.pad_id,
            title=f"{title}: labels alone",
            checkpoint=work / "fine-tuning.pt",
            team=self.runtime.team,
        )
        self.record(title, "labels alone", trained.curve)

    def _train(
        self,
        stage: Stage,
        distilled: StudentState,
        lesson: DistillationData,
        folder: Path,
        title: str,
    ) -> None:
        """Takes a student through a stage and keeps it in a folder."""
        checkpoint = folder.with_name(f"{folder.name}.pt")
        trained = train(
            distilled.student,
            WeightedLosses(terms_of(stage, distilled, self._start(lesson))),
            lesson.data,
            lesson.source,
            schedule_of(stage, self.settings),
            self.runtime,
            pad_id=self.pad_id,
            title=f"{title}: {stage.name}",
            checkpoint=checkpoint,
            team=self.runtime.team,
        )
        distilled.save(folder)
        checkpoint.unlink(missing_ok=True)
        self.record(title, stage.name, trained.curve)

    def _lesson(
        self, stage: Stage, architecture: Architecture, hidden: bool = False
    ) -> DistillationData:
        teacher = self.classroom.teacher(stage)
        wanted = wanted_of(stage, architecture, teacher, self.settings)
        if hidden:
            wanted |= hidden_of(architecture, teacher, self.settings)
        return self.classroom.lesson(stage, wanted)

    def _start(
        self, lesson: DistillationData, importance: Importance | None = None
    ) -> StudentInitialiser:
        return StudentInitialiser(lesson, self.settings, self.runtime, importance)

    def _general_folder(
        self, architecture: Architecture, stages: tuple[Stage, ...], lesson: DistillationData
    ) -> Path:
        settings = {name: getattr(self.settings, name) for name in GENERAL_SETTINGS}
        key = teacher_key(
            lesson.teacher,
            lesson.data,
            architecture=architecture.params,
            stages=[self._what_counts(stage) for stage in stages],
            settings=settings,
            batch_size=self.settings.batch_size,
            precision=self.runtime.precision,
        )
        folder = cache_folder() / "students" / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder

    def _what_counts(self, stage: Stage) -> dict[str, Any]:
        frozen = schedule_of(stage, self.settings).freeze_embeddings
        resolved = stage.model_copy(update={"freeze_embeddings": frozen})
        return resolved.model_dump(mode="json", exclude={"name"})


def _cut(file: Path, start: StudentInitialiser) -> Importance:
    """What matters in a general teacher: measured once, the same for all who take its student."""
    try:
        return Importance.load(file)
    except (OSError, SafetensorError):
        with replace_file(file) as partial:
            start.importance.save(partial)
        return start.importance
