"""Mini-KD: a short distillation on the proxy, whose held-out loss scores a candidate."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from zipfile import is_zipfile

from kdnas.config import Settings
from kdnas.distillation.outputs import State
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import heldout_losses, train
from kdnas.files.curves import MINI_KD, Record, forget
from kdnas.measure.quiet import computing
from kdnas.recipes.stages import remedy_of, schedule_of, teacher_request, weighted_losses
from kdnas.runtime.device import Runtime
from kdnas.scoring.proxy import Proxy
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import AnyArchitecture, Candidate, SearchSpace
from kdnas.students.build import initialiser_of
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher


class MiniKD:
    """A scorer: trains any candidate of one teacher briefly on one proxy.

    The teacher gives the students their weights, but is not run: its signal for the proxy is
    stored. `record` takes note of each training.
    """

    def __init__(
        self,
        teacher: Teacher,
        proxy: Proxy,
        settings: Settings,
        runtime: Runtime,
        record: Record = forget,
    ) -> None:
        self.teacher, self.proxy, self.settings = teacher, proxy, settings
        self.runtime, self.record = runtime, record
        self.stage = settings.mini_stage
        self.data = DistillationData(
            teacher,
            proxy.data.take(proxy.training),
            proxy.store.subset(proxy.training),
            proxy.store.statistics(proxy.data.task_type),
        )
        self.initialiser = initialiser_of(
            teacher, self.data.data, runtime, inherit=settings.inherit, seed=settings.seed
        )

    def score(self, candidate: Candidate, budget: Budget) -> Score:
        """Trains a candidate; its score is the explained share, 1 minus the held-out loss."""
        start = time.perf_counter()
        with computing(self.runtime.device):
            state = self.start(candidate.architecture)
        loss = self.train(
            state, until=budget.share, checkpoint=budget.checkpoint, title=budget.title
        )
        return Score(1 - loss, seconds=time.perf_counter() - start, student=state)

    def start(self, architecture: AnyArchitecture) -> StudentState:
        """An untrained student; it keeps the parts of the teacher that matter most on the proxy."""
        return self.initialiser.student(architecture)

    def train(
        self,
        state: StudentState,
        *,
        until: float = 1.0,
        checkpoint: Path | None = None,
        title: str = MINI_KD,
    ) -> float:
        """Trains a student in place; returns its loss on the held-out part of the proxy.

        Args:
            state: Fresh from `start`, also where a checkpoint has more.
            until: Share of the training after which to pause and score.
            checkpoint: File that keeps a paused training, for the next call to go on from.
            title: Names the student where progress is shown and recorded.
        """
        # A checkpoint has fitted parameters. It is a zip archive, unless it is damaged.
        resumed = checkpoint is not None and is_zipfile(checkpoint)
        context = (self.stage, state, self.data, self.settings, self.runtime)
        losses = weighted_losses(*context, fit=not resumed)
        trained = train(
            state.model,
            losses,
            self.data.data,
            self.data.source,
            self.schedule(self.settings.mini_epochs, self.settings.mini_steps),
            self.runtime,
            pad_id=self.teacher.pad_id,
            title=title,
            remedy=remedy_of(self.stage, self.settings),
            checkpoint=checkpoint,
            until=until,
        )
        state.keep(losses.named)
        loss = self.heldout_loss(state)
        self.record(title, MINI_KD, trained.curve, loss)
        return loss

    def heldout_loss(self, state: StudentState) -> float:
        """The held-out value of the losses that score candidates, averaged.

        A loss that the student was not trained with is fitted to it as it is.
        """
        proxy, names = self.proxy, self.settings.scored_losses
        context = (self.stage, state, self.data, self.settings, self.runtime)
        losses = weighted_losses(*context, scored=names)
        values = heldout_losses(
            state.model,
            losses,
            proxy.data.take(proxy.heldout),
            proxy.store.subset(proxy.heldout),
            self.runtime,
            pad_id=self.teacher.pad_id,
        )
        return fmean(values.values())

    def schedule(self, epochs: float, steps: int | None) -> Schedule:
        """How candidates are trained."""
        schedule, seconds = schedule_of(self.stage, self.settings), self.settings.mini_seconds
        return replace(schedule, epochs=epochs, max_steps=steps, max_seconds=seconds)


def states_for(space: SearchSpace, teacher: Teacher, settings: Settings) -> frozenset[State]:
    """The teacher's states that mini-KD reads for any student of a space."""
    stage, scored = settings.mini_stage, settings.scored_losses
    depths = [space.choices.get(name, (0,)) for name in ("num_hidden_layers", "num_decoder_layers")]
    shapes = [
        replace(space.teacher, num_hidden_layers=int(layers), num_decoder_layers=int(decoders))
        for layers, decoders in itertools.product(*depths)
    ]
    requests = [teacher_request(stage, shape, teacher, settings, scored) for shape in shapes]
    return frozenset().union(*(request.states for request in requests))
