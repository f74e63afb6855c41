"""What a student is taught with: a teacher, some data, and what the teacher says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kdnas.distillation.batches import Batch, collate, plan_epoch
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.distillation.signal import LiveSignal, NoSignal, TeacherSignal
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.fine_tune import stored_or_live
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import SignalStore

FEW_BATCHES = 8
BATCH_SIZE = 32


@dataclass(frozen=True)
class DistillationData:
    """A teacher, a data set, and the teacher's signal for it.

    Attributes:
        teacher: On the runtime's device.
        data: The examples.
        source: The teacher's signal for them.
        mean: Shape (teacher layers + 1, hidden size): of each hidden dimension over real tokens.
        variance: Same shape.
    """

    teacher: Teacher
    data: EncodedExamples
    source: TeacherSignal
    mean: Tensor
    variance: Tensor

    @classmethod
    def prepare(
        cls, teacher: Teacher, data: EncodedExamples, wanted: OutputRequest, runtime: Runtime
    ) -> DistillationData:
        """The teacher's signal from a store, or where the disk is too small, live.

        Where nothing is wanted the teacher is not run, and nothing is known of its states.

        Args:
            teacher: On the runtime's device.
            data: The examples.
            wanted: What will be read of the teacher.
            runtime: Device and precision.
        """
        if wanted == OutputRequest():
            shape = (teacher.depth + 1, teacher.hidden_size)
            return cls(teacher, data, NoSignal(), torch.zeros(shape), torch.ones(shape))
        found = stored_or_live(teacher, data, wanted.states, runtime)
        if isinstance(found, SignalStore):
            return cls(teacher, data, found.everything(), found.mean, found.variance)
        batches = some_batches(data, teacher.pad_id, runtime)
        return cls(teacher, data, found, *_statistics(teacher, found, batches))

    def some_batches(self, runtime: Runtime, seed: int = 0) -> Iterator[Batch]:
        """A few batches of the data, for what needs no more."""
        return some_batches(self.data, self.teacher.pad_id, runtime, seed)


def some_batches(
    data: EncodedExamples, pad_id: int, runtime: Runtime, seed: int = 0
) -> Iterator[Batch]:
    """The first batches of an epoch over some data, on the runtime's device."""
    plan = plan_epoch(data.lengths, BATCH_SIZE, seed, 0)[:FEW_BATCHES]
    return (collate(data, indices, pad_id).to(runtime.device) for indices in plan)


def _statistics(
    teacher: Teacher, source: LiveSignal, batches: Iterator[Batch]
) -> tuple[Tensor, Tensor]:
    """Mean and variance of every layer's hidden states over some batches."""
    layers = range(int(teacher.model.config.num_hidden_layers) + 1)
    said = [source.fetch(batch, OutputRequest(hidden_states(layers))) for batch in batches]
    states = [torch.cat([s.hidden(layer).float() for s in said]) for layer in layers]
    mean = torch.stack([s.mean(0) for s in states])
    return mean, torch.stack([s.var(0, correction=0) for s in states])
