"""A teacher, some examples, and the teacher's signal for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kdnas.distillation.batches import Batch, collate, forward_tokens, plan_epoch, plan_once
from kdnas.distillation.losses import TeacherStatistics
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.distillation.signals import (
    LiveSignal,
    NoSignal,
    OtherLogits,
    TeacherSignal,
    ViewedSignal,
)
from kdnas.distillation.training import logits_of
from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.space.families import SIDES, Place
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import (
    NO_VIEWS,
    StoredSignal,
    Views,
    open_or_build_store,
    stored_states,
    variance_of,
)

FEW_BATCHES = 8
BATCH_SIZE = 32


@dataclass(frozen=True)
class DistillationData:
    """A teacher on the runtime's device, a data set, and the teacher's signal for it."""

    teacher: Teacher
    data: EncodedExamples
    source: TeacherSignal
    statistics: TeacherStatistics

    @classmethod
    def prepare(
        cls,
        teacher: Teacher,
        data: EncodedExamples,
        request: OutputRequest,
        runtime: Runtime,
        views: Views = NO_VIEWS,
    ) -> DistillationData:
        """The teacher's signal from a store, or live where the disk has no room for one.

        Where nothing is requested of the teacher, it does not run. `views`, learnt before, make the
        states of theirs that are requested.
        """
        if request == OutputRequest():
            return cls(teacher, data, NoSignal(), TeacherStatistics())
        views = {state: view for state, view in views.items() if state in request.states}
        states = stored_states(teacher, request.states, views)
        made = {state: view for state, view in views.items() if state in states}
        source: TeacherSignal
        try:
            store = open_or_build_store(teacher, data, states, runtime, made)
        except KdnasError as error:
            if teacher.recorded:
                raise
            say(f"{error}; running the teacher at every step instead")
            source = live = LiveSignal(teacher.model, runtime)
            made, statistics = {}, _statistics(teacher, live, data, runtime)
        else:
            source, statistics = store.subset(), store.statistics(data.task_type)
        if made.keys() != views.keys():
            others = {state: view for state, view in views.items() if state not in made}
            source = ViewedSignal(source, others)
        spreads = {state: view.spread.cpu() for state, view in views.items()}
        return cls(teacher, data, source, replace(statistics, views=spreads))

    def logits(self, runtime: Runtime) -> Tensor | None:
        """The teacher's outputs for all examples, shape (units, outputs); None without a head."""
        source, teacher = self.source, self.teacher
        if isinstance(source, OtherLogits):
            return source.logits
        if isinstance(source, ViewedSignal):
            source = source.source
        found = source.logits() if isinstance(source, StoredSignal) else None
        if found is None and teacher.has_head and not teacher.recorded:
            found = logits_of(teacher.model, self.data, runtime, pad_id=teacher.pad_id)
        return found

    def with_outputs(self, outputs: Tensor, runtime: Runtime) -> DistillationData:
        """The same with other outputs for the first examples, shape (units of these, outputs)."""
        logits, offsets = outputs, self.data.unit_offsets
        if len(outputs) < offsets[-1]:
            rest = self.logits(runtime)
            assert rest is not None, "the teacher has a head"
            logits = torch.cat([outputs, rest[len(outputs) :]])
        variance = variance_of(logits, offsets, self.data.task_type)
        statistics = replace(self.statistics, logit_variance=variance)
        return replace(
            self, source=OtherLogits(self.source, logits, offsets), statistics=statistics
        )


def some_batches(
    data: EncodedExamples, pad_id: int, runtime: Runtime, seed: int = 0, *, merge: bool = True
) -> list[Batch]:
    """The rows of the first batches of an epoch over some data, on the runtime's device.

    The rows are the same on every device. A GPU, where a batch of 32 takes as long as a larger one,
    has them in fewer batches, unless they are not to `merge`: where what is measured depends on
    which rows are in a batch.
    """
    plan = plan_epoch(data.sizes, BATCH_SIZE, seed, 0)[:FEW_BATCHES]
    if merge and runtime.device.type != "cpu":
        rows = np.concatenate(plan)
        parts = plan_once(data.sizes[rows], forward_tokens(runtime.device))
        plan = [rows[part] for part in parts]
    return [collate(data, indices, pad_id).to(runtime.device) for indices in plan]


def _statistics(
    teacher: Teacher, source: LiveSignal, data: EncodedExamples, runtime: Runtime
) -> TeacherStatistics:
    """Mean and variance of every layer's hidden states over some batches."""
    stacks = teacher.architecture.stacks
    depths = dict(zip(SIDES, (stack.num_hidden_layers + 1 for stack in stacks), strict=False))
    every = (hidden_states(range(n), side) for side, n in depths.items())
    request = OutputRequest(frozenset().union(*every))
    batches = some_batches(data, teacher.pad_id, runtime)
    outputs = [source.fetch(batch, request) for batch in batches]

    def moments(side: Place) -> tuple[Tensor, Tensor]:
        layers = range(depths[side])
        states = [torch.cat([o.hidden(layer, side).float() for o in outputs]) for layer in layers]
        variances = [s.var(0, correction=0) for s in states]
        return torch.stack([s.mean(0) for s in states]), torch.stack(variances)

    decoder = moments("decoder") if "decoder" in depths else None
    return TeacherStatistics(*moments("encoder"), decoder=decoder)
