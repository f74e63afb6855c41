"""Mini-KD: a short distillation on the proxy, whose held-out loss scores an architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import torch

from kdnas.config import Settings
from kdnas.distill.batches import Batch, collate
from kdnas.distill.core import heldout_losses, train
from kdnas.distill.distilled import Distilled
from kdnas.distill.least_squares import fit_projections
from kdnas.distill.mapping import LayerMap
from kdnas.distill.objective import HiddenTerm, Objective
from kdnas.distill.proxy import Proxy
from kdnas.distill.recipe import Recipe
from kdnas.runtime import Runtime
from kdnas.space import Architecture
from kdnas.student import build_student
from kdnas.student.importance import Importance, measure_importance
from kdnas.teacher.load import Teacher

FIT_BATCHES = 8


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

    def start(self, architecture: Architecture) -> Distilled:
        """An untrained student; it keeps the parts of the teacher that matter most on the proxy."""
        student = build_student(
            self.teacher.model,
            architecture,
            inherit=self.settings.inherit,
            importance=self.importance,
            seed=self.settings.seed,
        )
        return Distilled(student, self._hidden_term(architecture))

    @cached_property
    def importance(self) -> Importance:
        """What matters in the teacher; its hidden dimensions by how much they vary."""
        variance = self.proxy.store.variance
        share = variance / variance.sum(dim=1, keepdim=True).clamp_min(1e-12)
        batches = self._some_batches()
        return measure_importance(self.teacher.model, share.mean(dim=0), batches, self.runtime)

    def run(self, distilled: Distilled, title: str = "mini-KD") -> float:
        """Trains a student in place; returns its loss on the held-out part of the proxy."""
        settings, proxy, pad = self.settings, self.proxy, self.teacher.pad_id
        self._fit(distilled)
        objective = Objective({"hidden": (1.0, distilled.hidden)})
        train(
            distilled.student,
            objective,
            proxy.data.take(proxy.training),
            proxy.store.subset(proxy.training),
            self.recipe(settings.mini_epochs, settings.mini_steps),
            self.runtime,
            pad_id=pad,
            title=title,
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

    def recipe(self, epochs: float, steps: int | None) -> Recipe:
        """How candidates are trained."""
        settings = self.settings
        return replace(
            hidden_recipe(settings, epochs, settings.mini_lr),
            stride=settings.mini_stride,
            max_steps=steps,
            max_seconds=settings.mini_seconds,
        )

    def _hidden_term(self, architecture: Architecture) -> HiddenTerm:
        store, depth = self.proxy.store, self.teacher.model.config.num_hidden_layers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            return HiddenTerm(
                LayerMap.skip_and_last(architecture.num_hidden_layers, depth),
                architecture.hidden_size,
                store.mean,
                store.variance,
                self.settings.normalisation,
                self.settings.shared_projection,
            )

    def _fit(self, distilled: Distilled) -> None:
        device = self.runtime.device
        distilled.student.to(device)  # type: ignore[arg-type]
        distilled.hidden.to(device)
        source = self.proxy.store.subset(self.proxy.training)
        batches = self._some_batches()
        fit_projections(distilled.hidden, distilled.student, batches, source, self.runtime)

    def _some_batches(self) -> Iterator[Batch]:
        data, device = self.proxy.data.take(self.proxy.training), self.runtime.device
        plan = hidden_recipe(self.settings, 1, 0).plan(data.lengths, 0)[:FIT_BATCHES]
        return (collate(data, indices, self.teacher.pad_id).to(device) for indices in plan)


def hidden_recipe(settings: Settings, epochs: float, lr: float) -> Recipe:
    """The recipe of hidden-state KD, short or long.

    Inherited word embeddings stay as they are: they are most of a small student's weights, and
    the teacher's already.
    """
    return Recipe(
        epochs, lr, settings.batch_size, settings.seed, freeze_embeddings=settings.inherit
    )
