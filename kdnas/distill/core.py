"""The training core: mini-KD, full KD, task training and teacher fine-tuning are all this loop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.console import progress
from kdnas.distill.batches import Batch, batches_once, collate
from kdnas.distill.checkpoint import Checkpoint
from kdnas.distill.forward import forward
from kdnas.distill.objective import Objective
from kdnas.distill.outputs import Wanted
from kdnas.distill.schedule import Pace, Schedule
from kdnas.distill.signal import TeacherSignal
from kdnas.distill.vocabulary import cut_vocabulary
from kdnas.distill.weights import Masters, working_precision
from kdnas.measure.quiet import computing
from kdnas.runtime import Runtime
from kdnas.tasks.encode import EncodedExamples


@dataclass(frozen=True)
class TrainResult:
    """What a training did: steps, wall seconds, and (step, total loss) now and then."""

    steps: int
    seconds: float
    curve: list[tuple[int, float]]


def train(
    model: PreTrainedModel,
    objective: Objective,
    data: EncodedExamples,
    source: TeacherSignal,
    schedule: Schedule,
    runtime: Runtime,
    *,
    pad_id: int,
    title: str = "training",
    checkpoint: Path | None = None,
    until: float = 1.0,
) -> TrainResult:
    """Trains a model, and the objective's own parameters, in place.

    Args:
        model: On return it is in evaluation mode, on the runtime's device.
        objective: What is minimised.
        data: Examples to train on.
        source: The teacher's signal for the same examples.
        schedule: How.
        runtime: Where.
        pad_id: Token that fills short rows.
        title: Names the job where progress is shown.
        checkpoint: File that a killed or paused training continues from; whoever calls this
            removes it when the result is safe.
        until: Share of the training after which to pause; a later call with the same checkpoint
            goes on from there.
    """
    start = time.perf_counter()
    model.to(runtime.device).train(schedule.dropout)  # type: ignore[arg-type]
    objective.to(runtime.device)
    with ExitStack() as stack:
        let_pass = stack.enter_context(computing(runtime.device))
        embeddings = model.get_input_embeddings()
        embeddings.requires_grad_(not schedule.freeze_embeddings)
        stack.callback(embeddings.requires_grad_, True)
        if not schedule.freeze_embeddings:
            stack.enter_context(cut_vocabulary(model, data, pad_id))
        weights = stack.enter_context(working_precision(model, runtime, objective))
        pace = Pace(schedule, schedule.steps(data.lengths), until)
        optimizer = _optimizer(weights.trained, schedule)
        state = Checkpoint(checkpoint, weights=weights, optimizer=optimizer, pace=pace)
        state.load()
        torch.manual_seed(schedule.seed + pace.step)
        training = _Training(model, objective, source, weights, optimizer, pace, runtime)
        with progress(title, round(pace.until * pace.steps) - pace.step) as advance:
            for batch in _batches(data, schedule, pace, pad_id, runtime):
                pace.advance(training.step(batch))
                advance(f"loss {pace.curve[-1][1]:.4f}")
                state.save_now_and_then()
                let_pass()
        if not pace.complete:
            state.save()
    model.eval()
    return TrainResult(pace.step, time.perf_counter() - start, pace.curve)


@dataclass(frozen=True)
class _Training:
    """All that one step touches."""

    model: PreTrainedModel
    objective: Objective
    source: TeacherSignal
    weights: Masters
    optimizer: torch.optim.AdamW
    pace: Pace
    runtime: Runtime

    def step(self, batch: Batch) -> Tensor:
        """Forward, backward, update; returns the loss."""
        self.objective.progress = self.pace.progress
        with self.runtime.autocast():
            loss: Tensor = self.objective(self.model, batch, self.source)["total"]
        self.runtime.accelerator.backward(loss)
        self.weights.take_gradients()
        self.runtime.accelerator.clip_grad_norm_(self.weights.trained, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.pace.learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.weights.publish()
        return loss.detach()


@torch.no_grad()
def heldout_losses(
    model: PreTrainedModel,
    objective: Objective,
    data: EncodedExamples,
    source: TeacherSignal,
    runtime: Runtime,
    *,
    pad_id: int,
) -> dict[str, float]:
    """Each loss by name on held-out examples, dropout off, each token or example counting once."""
    model.eval()
    objective.to(runtime.device)
    sums, totals = dict.fromkeys(objective.ends, 0.0), dict.fromkeys(objective.ends, 0)
    with computing(runtime.device) as let_pass, working_precision(model, runtime):
        for batch in batches_once(data, pad_id, runtime.device):
            let_pass()
            with runtime.autocast():
                losses = objective(model, batch, source)
            for name, count in objective.counts(batch).items():
                sums[name] += float(losses[name]) * count
                totals[name] += count
    return {name: value / totals[name] for name, value in sums.items()}


@torch.no_grad()
def predict(
    model: PreTrainedModel,
    data: EncodedExamples,
    runtime: Runtime,
    *,
    pad_id: int,
) -> torch.Tensor:
    """Logits in the order of the data, shape (examples, classes), float32 on the CPU."""
    model.to(runtime.device).eval()  # type: ignore[arg-type]
    logits = torch.empty(len(data), model.config.num_labels)
    with computing(runtime.device) as let_pass, working_precision(model, runtime):
        for batch in batches_once(data, pad_id, runtime.device):
            let_pass()
            with runtime.autocast():
                said = forward(model, batch, Wanted(logits=True))
            assert said.logits is not None
            logits[torch.from_numpy(batch.indices)] = said.logits.cpu()
    return logits


def _batches(
    data: EncodedExamples, schedule: Schedule, pace: Pace, pad_id: int, runtime: Runtime
) -> Iterator[Batch]:
    """The batches that are still to be trained on, epoch after epoch."""
    skip = pace.step
    for epoch in itertools.count():
        plan = schedule.plan(data.lengths, epoch)
        for indices in plan[skip:]:
            if pace.done:
                return
            yield collate(data, indices, pad_id, schedule.stride).to(runtime.device)
        skip = max(0, skip - len(plan))


def _optimizer(trained: list[nn.Parameter], schedule: Schedule) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.lr, fused=True)
