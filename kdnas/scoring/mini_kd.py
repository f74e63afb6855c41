"""Mini-KD: a short distillation on the proxy, whose held-out loss scores a candidate."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from zipfile import is_zipfile

from kdnas.config import Settings
from kdnas.distillation.losses.table import DistillationLoss, UnexplainedLogits
from kdnas.distillation.losses.weighted import WeightedLosses
from kdnas.distillation.outputs import OutputRequest, State
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import heldout_losses, train
from kdnas.files.curves import MINI_KD, Record, forget
from kdnas.measure.quiet import computing
from kdnas.recipes.stages import hidden_of, schedule_of, terms_of, wanted_of
from kdnas.runtime.device import Runtime
from kdnas.scoring.proxy import Proxy
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.students.initialiser import StudentInitialiser
from kdnas.students.state import StudentState
from kdnas.tasks import TASK_TYPES
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher


class MiniKD:
    """A scorer: trains any candidate of one teacher briefly on one proxy.

    The teacher itself is not run: its signal for the proxy is stored.

    Args:
        teacher: Gives the students their weights.
        proxy: Data and signal.
        settings: Of the run.
        runtime: Device and precision.
        record: Takes note of each training.
    """

    def __init__(
        self,
        teacher: Teacher,
        proxy: Proxy,
        settings: Settings,
        runtime: Runtime,
        record: Record = forget,
    ) -> None:
        self.teacher = teacher
        self.proxy = proxy
        self.settings = settings
        self.stage = settings.mini_stage
        self.runtime = runtime
        self.record = record
        self.lesson = DistillationData(
            teacher,
            proxy.data.take(proxy.training),
            proxy.store.subset(proxy.training),
            proxy.store.mean,
            proxy.store.variance,
        )
        self.begin = StudentInitialiser(self.lesson, settings, runtime)

    def score(self, candidate: Candidate, budget: Budget) -> Score:
        """Trains a candidate; its score is the explained share, 1 minus the held-out loss."""
        start = time.perf_counter()
        with computing(self.runtime.device):
            student = self.start(candidate.architecture)
        loss = self.train(
            student, until=budget.share, checkpoint=budget.checkpoint, title=budget.title
        )
        return Score(1 - loss, seconds=time.perf_counter() - start, student=student)

    def start(self, architecture: Architecture) -> StudentState:
        """An untrained student; it keeps the parts of the teacher that matter most on the proxy."""
        return self.begin.student(architecture)

    def train(
        self,
        distilled: StudentState,
        *,
        until: float = 1.0,
        checkpoint: Path | None = None,
        title: str = MINI_KD,
    ) -> float:
        """Trains a student in place; returns its loss on the held-out part of the proxy.

        Args:
            distilled: Fresh from `start`, also where a checkpoint has more.
            until: Share of the training after which to pause and score.
            checkpoint: File that keeps a paused training, for the next call to go on from.
            title: Names the student where progress is shown and recorded.
        """
        settings, pad = self.settings, self.teacher.pad_id
        # torch.save writes a zip archive, whose end a damaged file lacks.
        if checkpoint is None or not is_zipfile(checkpoint):
            self.begin.fit(distilled.hidden, distilled)
        trained = train(
            distilled.student,
            WeightedLosses(terms_of(self.stage, distilled, self.begin)),
            self.lesson.data,
            self.lesson.source,
            self.schedule(settings.mini_epochs, settings.mini_steps),
            self.runtime,
            pad_id=pad,
            title=title,
            checkpoint=checkpoint,
            until=until,
        )
        if not self.stage.weighs("hidden"):  # its projections were not trained with the student
            self.begin.fit(distilled.hidden, distilled)
        loss = self.heldout_loss(distilled)
        self.record(title, MINI_KD, trained.curve, loss)
        return loss

    def heldout_loss(self, distilled: StudentState) -> float:
        """The loss of a student on the held-out part: a share left unexplained, or their mean."""
        proxy = self.proxy
        losses = heldout_losses(
            distilled.student,
            WeightedLosses({name: (1.0, term) for name, term in self._scored(distilled).items()}),
            proxy.data.take(proxy.heldout),
            proxy.store.subset(proxy.heldout),
            self.runtime,
            pad_id=self.teacher.pad_id,
        )
        return fmean(losses.values())

    def _scored(self, distilled: StudentState) -> dict[str, DistillationLoss]:
        """The losses whose held-out values make up the score."""
        terms: dict[str, DistillationLoss] = {}
        if self.settings.mini_score != "logits":
            terms["hidden"] = distilled.hidden
        if self.settings.mini_score != "hidden":
            assert self.proxy.store.logits is not None, "the settings were checked"
            task = TASK_TYPES[self.proxy.data.task_type]
            terms["logits"] = UnexplainedLogits(self.proxy.store.logits, task)
        return terms

    def schedule(self, epochs: float, steps: int | None) -> Schedule:
        """How candidates are trained."""
        schedule = schedule_of(self.stage, self.settings)
        seconds = self.settings.mini_seconds
        return replace(schedule, epochs=epochs, max_steps=steps, max_seconds=seconds)


def states_for(space: SearchSpace, teacher: Teacher, settings: Settings) -> frozenset[State]:
    """The teacher's states that mini-KD reads for any student of a space."""
    depths = {int(layers) for layers in space.choices["num_hidden_layers"]}
    wanted = OutputRequest()
    for shape in (replace(space.teacher, num_hidden_layers=layers) for layers in depths):
        wanted |= wanted_of(settings.mini_stage, shape, teacher, settings)
        # Projections are fitted to hidden states even where nothing is trained on them.
        wanted |= hidden_of(shape, teacher, settings)
    return wanted.states
