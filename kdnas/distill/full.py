"""Full KD and task training: the same core as mini-KD, longer, on the full data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.distill.core import train
from kdnas.distill.distilled import Distilled
from kdnas.distill.mini import hidden_recipe
from kdnas.distill.objective import LogitTerm, Objective, TaskTerm
from kdnas.distill.recipe import Recipe
from kdnas.distill.signal import NoSignal, TeacherSignal
from kdnas.runtime import Runtime
from kdnas.tasks.encode import EncodedExamples


@dataclass(frozen=True)
class Lesson:
    """A data set and the teacher's signal for it.

    Attributes:
        data: The examples.
        source: The teacher's signal for them.
        has_logits: Whether the signal holds logits.
    """

    data: EncodedExamples
    source: TeacherSignal
    has_logits: bool


@dataclass(frozen=True)
class Trainer:
    """Trains students at full length.

    Attributes:
        settings: Of the run.
        runtime: Device and precision.
        pad_id: Token that fills short rows.
    """

    settings: Settings
    runtime: Runtime
    pad_id: int

    def hidden_stage(self, distilled: Distilled, lesson: Lesson, work: Path, title: str) -> None:
        """Hidden-state KD that goes on from what mini-KD learnt, in place."""
        if not self.settings.epochs or distilled.load(work / "hidden"):
            return
        train(
            distilled.student,
            Objective({"hidden": (1.0, distilled.hidden)}),
            lesson.data,
            lesson.source,
            hidden_recipe(self.settings, self.settings.epochs, self.settings.lr),
            self.runtime,
            pad_id=self.pad_id,
            title=f"{title}: full KD",
            checkpoint=work / "hidden.pt",
        )
        distilled.save(work / "hidden")

    def task_stage(self, distilled: Distilled, lesson: Lesson, work: Path, title: str) -> None:
        """The task's labels together with the teacher's logits and hidden states, in place."""
        settings = self.settings
        objective = Objective(
            {
                "task": (1.0, TaskTerm()),
                "logits": (
                    settings.logit_weight if lesson.has_logits else 0.0,
                    LogitTerm(settings.temperature),
                ),
                "hidden": (settings.hidden_weight, distilled.hidden),
            }
        )
        self._train_task(distilled.student, objective, lesson, settings.task_epochs, work, title)

    def fine_tune(
        self, student: PreTrainedModel, data: EncodedExamples, work: Path, title: str
    ) -> None:
        """The control without a teacher: labels alone, for as many epochs as both stages take."""
        objective = Objective({"task": (1.0, TaskTerm())})
        epochs = self.settings.epochs + self.settings.task_epochs
        lesson = Lesson(data, NoSignal(), has_logits=False)
        self._train_task(student, objective, lesson, epochs, work, title)

    def _train_task(
        self,
        student: PreTrainedModel,
        objective: Objective,
        lesson: Lesson,
        epochs: float,
        work: Path,
        title: str,
    ) -> None:
        settings = self.settings
        train(
            student,
            objective,
            lesson.data,
            lesson.source,
            Recipe(epochs, settings.task_lr, settings.batch_size, settings.seed),
            self.runtime,
            pad_id=self.pad_id,
            title=f"{title}: task",
            checkpoint=work / "task.pt",
        )
