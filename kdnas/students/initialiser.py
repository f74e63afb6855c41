"""How students begin: their teacher's weights, and projections that fit."""

from __future__ import annotations

from functools import cached_property

import torch

from kdnas.config import Settings
from kdnas.distillation.layer_map import LayerMap
from kdnas.distillation.least_squares import fit_projections
from kdnas.distillation.losses.table import HiddenLoss
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.students import build_student
from kdnas.students.importance import Importance, measure_importance
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import DistillationData


class StudentInitialiser:
    """Makes any student of a lesson's teacher.

    Args:
        lesson: Its data tell what in the teacher matters.
        settings: Of the run.
        runtime: Device and precision.
    """

    def __init__(
        self,
        lesson: DistillationData,
        settings: Settings,
        runtime: Runtime,
        importance: Importance | None = None,
    ) -> None:
        self.lesson = lesson
        self.settings = settings
        self.runtime = runtime
        if importance:
            self.importance = importance

    def student(self, architecture: Architecture) -> StudentState:
        """An untrained student; it keeps the parts of the teacher that matter most."""
        settings = self.settings
        student = build_student(
            self.lesson.teacher.model,
            architecture,
            inherit=settings.inherit,
            importance=self.importance if settings.inherit else None,
            seed=settings.seed,
        )
        return StudentState(architecture, student, self._hidden_term(architecture))

    @cached_property
    def importance(self) -> Importance:
        """What matters in the teacher."""
        batches = self.lesson.some_batches(self.runtime, self.settings.seed)
        return measure_importance(self.lesson.teacher.model, batches, self.runtime)

    def fit(self, term: HiddenLoss, distilled: StudentState) -> None:
        """Projections that predict the teacher's states as well as the student allows now."""
        device = self.runtime.device
        distilled.student.to(device)  # type: ignore[arg-type]
        term.to(device)
        batches = self.lesson.some_batches(self.runtime, self.settings.seed)
        fit_projections(term, distilled.student, batches, self.lesson.source, self.runtime)

    def embedding_term(self, architecture: Architecture) -> HiddenLoss:
        """The student's embeddings against the teacher's, through a projection.

        Jiao et al. 2020, TinyBERT.
        """
        return self._term(architecture, LayerMap.embeddings())

    def _hidden_term(self, architecture: Architecture) -> HiddenLoss:
        depth = int(self.lesson.teacher.model.config.num_hidden_layers)
        layers = architecture.num_hidden_layers
        return self._term(architecture, LayerMap.named(self.settings.mapping, layers, depth))

    def _term(self, architecture: Architecture, layer_map: LayerMap) -> HiddenLoss:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            return HiddenLoss(
                layer_map,
                architecture.hidden_size,
                self.lesson.mean,
                self.lesson.variance,
                self.settings.normalisation,
                self.settings.shared_projection,
            )
