"""How long a step of training takes on this machine, found out in some seconds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from kdnas.config.recipe import LABELS_ONLY
from kdnas.distillation.batches import Batch
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import NoSignal
from kdnas.distillation.training import train
from kdnas.errors import DivergedError
from kdnas.runtime.console import silently
from kdnas.runtime.device import Runtime
from kdnas.runtime.working_time import working_seconds
from kdnas.tasks import TASK_TYPES, EncodedExamples

SECONDS, STEPS, BATCHES = 2.5, 20, 8


def seconds_a_step(
    model: PreTrainedModel,
    data: EncodedExamples,
    schedule: Schedule,
    runtime: Runtime,
    pad_id: int,
) -> tuple[float, float]:
    """Trains a model on some batches of labelled data; torch's generator is as before.

    Returns:
        The median seconds of a step, and the tokens of one on average.
    """
    rng = np.random.default_rng(schedule.seed)
    few = data.take(np.sort(rng.permutation(len(data))[: BATCHES * schedule.batch_size]))
    assert data.labels is not None and few.labels is not None
    few = few.relabelled(TASK_TYPES[data.task_type].label_scale(data.labels).standard(few.labels))
    short = replace(schedule, lr=1e-6, epochs=STEPS, max_steps=STEPS, max_seconds=SECONDS)
    losses = {name: (weight, LOSSES[name]()) for name, weight in LABELS_ONLY.items()}
    steps, start = _Steps(), working_seconds()
    # An error here comes up again in the job itself, which reports it.
    with (
        silently(),
        torch.random.fork_rng(devices=[]),
        suppress(DivergedError, torch.OutOfMemoryError),
    ):
        train(model, WeightedLosses(losses), few, steps, short, runtime, pad_id=pad_id)
    tokens = float(few.sizes.sum()) / len(short.plan(few.sizes, 0))
    # The first step chooses kernels and takes memory; getting ready is not counted at all.
    times = np.diff(steps.began)[1:]
    if len(times):
        return float(np.median(times)), tokens
    return (working_seconds() - start) / max(1, len(steps.began)), tokens


class _Steps(NoSignal):
    """Takes note of when each step begins to read the signal, of which there is none."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        self.began.append(working_seconds())
        return super().fetch(batch, request)
