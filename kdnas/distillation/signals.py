"""Where a teacher's outputs for the examples of a training come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State
from kdnas.distillation.precision import working_precision
from kdnas.runtime.device import Runtime, moved
from kdnas.tasks.encode import ragged_rows


class TeacherSignal(Protocol):
    """A source of a teacher's outputs for the examples of one data set."""

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        """The teacher's outputs for a batch, on the batch's device."""


@dataclass(frozen=True)
class NoSignal:
    """No teacher: for training on labels alone."""

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        return ModelOutputs()


@dataclass(frozen=True)
class KnownSignal:
    """A teacher's outputs for one batch, fetched before."""

    outputs: ModelOutputs

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        return self.outputs


class View(Protocol):
    """A map from some of a teacher's states to states of another kind."""

    of_teacher: OutputRequest

    def to(self, device: torch.device) -> Any:
        """Moves the map, in place."""

    def view(self, signal: ModelOutputs) -> Tensor:
        """From the states that `of_teacher` asks for to shape (tokens, width), float32."""


@dataclass(frozen=True)
class ViewedSignal:
    """A source that also has the states that views make of its own."""

    source: TeacherSignal
    views: Mapping[State, View]

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        made = {state: self.views[state] for state in request.states & self.views.keys()}
        plain = OutputRequest(request.states - made.keys(), request.logits)
        needed = plain
        for view in made.values():
            needed |= view.of_teacher
        found = self.source.fetch(batch, needed)
        device = batch.inputs["input_ids"].device
        states = {state: found.states[state] for state in plain.states}
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for state, view in made.items():
                view.to(device)
                states[state] = view.view(found)
        return ModelOutputs(states, found.logits, found.top)


@dataclass(frozen=True)
class OtherLogits:
    """A source whose logits are others.

    Attributes:
        source: Has the states.
        logits: Shape (units, outputs), of all examples of the data set.
        offsets: Shape (examples + 1,): the first unit of each example, and their number.
    """

    source: TeacherSignal
    logits: Tensor
    offsets: NDArray[np.int64]

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        found = self.source.fetch(batch, OutputRequest(request.states))
        if not request.logits:
            return found
        units = torch.from_numpy(ragged_rows(self.offsets, batch.indices))
        device = batch.inputs["input_ids"].device
        return replace(found, logits=moved(self.logits[units], device))


@dataclass(frozen=True)
class LiveSignal:
    """Runs the teacher, in evaluation mode, on each batch: where a store would not fit."""

    teacher: PreTrainedModel
    runtime: Runtime

    @torch.no_grad()
    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        # In a process that trains beside the leading one it comes from there, on the CPU.
        self.teacher.to(batch.inputs["input_ids"].device)
        whole = working_precision(self.teacher, self.runtime, frozen=True)
        with whole, self.runtime.autocast():
            return forward(self.teacher, batch, request)
