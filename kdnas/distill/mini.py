"""Mini-KD: a short distillation on the proxy, whose held-out loss scores an architecture."""

from __future__ import annotations

from pathlib import Path

from kdnas.config import Settings
from kdnas.distill.core import heldout_losses, train
from kdnas.distill.distilled import Distilled
from kdnas.distill.lesson import Lesson
from kdnas.distill.objective import Objective
from kdnas.distill.proxy import Proxy
from kdnas.distill.schedule import Schedule
from kdnas.distill.start import Start
from kdnas.runtime import Runtime
from kdnas.space import Architecture
from kdnas.teacher.load import Teacher


class MiniKD:
    """Trains any student of one teacher on one proxy; the teacher itself is not run.

    Args:
        teacher: Gives the students their weights.
        proxy: Data and signal.
        settings: Of the run.
        runtime: Device and precision.
    """

    def __init__(
        self, teacher: Teacher, proxy: Proxy, settings: Settings, runtime: Runtime
    ) -> None:
        self.teacher = teacher
        self.proxy = proxy
        self.settings = settings
        self.runtime = runtime
        self.lesson = Lesson(
            teacher,
            proxy.data.take(proxy.training),
            proxy.store.subset(proxy.training),
            proxy.store.mean,
            proxy.store.variance,
        )
        self.begin = Start(self.lesson, settings, runtime)

    def start(self, architecture: Architecture) -> Distilled:
        """An untrained student; it keeps the parts of the teacher that matter most on the proxy."""
        return self.begin.student(architecture)

    def run(
        self,
        distilled: Distilled,
        *,
        until: float = 1.0,
        checkpoint: Path | None = None,
        title: str = "mini-KD",
    ) -> float:
        """Trains a student in place; returns its loss on the held-out part of the proxy.

        Args:
            distilled: Fresh from `start`, also where a checkpoint has more.
            until: Share of the training after which to pause and score.
            checkpoint: File that keeps a paused training, for the next call to go on from.
            title: Names the student where progress is shown.
        """
        settings, proxy, pad = self.settings, self.proxy, self.teacher.pad_id
        if checkpoint is None or not checkpoint.exists():
            self.begin.fit(distilled.hidden, distilled)
        objective = Objective({"hidden": (1.0, distilled.hidden)})
        train(
            distilled.student,
            objective,
            self.lesson.data,
            self.lesson.source,
            self.schedule(settings.mini_epochs, settings.mini_steps),
            self.runtime,
            pad_id=pad,
            title=title,
            checkpoint=checkpoint,
            until=until,
        )
        losses = heldout_losses(
            distilled.student,
            objective,
            proxy.data.take(proxy.heldout),
            proxy.store.subset(proxy.heldout),
            self.runtime,
            pad_id=pad,
        )
        return losses["hidden"]

    def schedule(self, epochs: float, steps: int | None) -> Schedule:
        """How candidates are trained.

        Inherited word embeddings stay as they are: they are most of a small student's weights, and
        the teacher's already.
        """
        settings = self.settings
        return Schedule(
            epochs,
            settings.mini_lr,
            settings.batch_size,
            settings.seed,
            freeze_embeddings=settings.inherit,
            stride=settings.mini_stride,
            max_steps=steps,
            max_seconds=settings.mini_seconds,
        )
