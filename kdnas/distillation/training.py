"""The one training loop: of mini-KD, full KD and fine-tuning."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch, Indices, batches_once, collate, padded, part_of
from kdnas.distillation.captured import CapturedSteps, captures, stream_of_its_own
from kdnas.distillation.checkpoint import Checkpoint
from kdnas.distillation.embedding_rows import word_embeddings
from kdnas.distillation.forward import forward
from kdnas.distillation.generation import generate
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.modules import outputs_a_token
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.precision import Masters, working_precision
from kdnas.distillation.schedule import Pace, Schedule
from kdnas.distillation.signals import KnownSignal, TeacherSignal
from kdnas.distillation.word_dropout import hidden_words
from kdnas.errors import DivergedError
from kdnas.measure.quiet import computing
from kdnas.runtime.console import progress
from kdnas.runtime.device import Runtime, seed_all
from kdnas.runtime.distributed import ALONE, Team
from kdnas.runtime.heap import giving_back
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.encode import EncodedExamples, ragged_rows

_nothing: Callable[..., None] = lambda *_: None  # noqa: E731
# What dropout drops must differ between processes that share a batch.
NEXT_SEED = 1_000_003


@dataclass(frozen=True)
class TrainResult:
    """Steps, wall seconds, and (step, total loss) of some steps."""

    steps: int
    seconds: float
    curve: list[tuple[int, float]]


@giving_back
def train(
    model: PreTrainedModel,
    objective: WeightedLosses,
    data: EncodedExamples,
    source: TeacherSignal,
    schedule: Schedule,
    runtime: Runtime,
    *,
    pad_id: int,
    title: str = "training",
    remedy: str = "lower its learning rate",
    checkpoint: Path | None = None,
    until: float = 1.0,
    freeze_model: bool = False,
    word_dropout: float = 0.0,
    team: Team = ALONE,
) -> TrainResult:
    """Trains a model, and the objective's own parameters, in place.

    Args:
        model: On return it is in evaluation mode, on the runtime's device.
        source: The teacher's signal for the data.
        pad_id: Token that fills short rows.
        title: Names the job where progress is shown.
        remedy: What a person should do where it diverges.
        checkpoint: File that a killed or paused training continues from; the caller removes it
            when the result is saved.
        until: Share of the training after which to pause; a later call with the same checkpoint
            goes on from there.
        freeze_model: Trains the objective's own parameters alone.
        word_dropout: Share of each text that a static student does not read at a step.
        team: Processes that share each batch; only the leading one need call this.

    Raises:
        DivergedError: A loss, or a weight in the end, is not finite; the checkpoint is removed.
        KdnasError: Another process of the team died.
    """
    start = time.perf_counter()
    with ExitStack() as stack:
        work = (model, objective, data, source, schedule, runtime)
        how: dict[str, Any] = {"pad_id": pad_id, "until": until, "freeze_model": freeze_model}
        stack.enter_context(team.calling(train, *work, **how, word_dropout=word_dropout))
        model.to(runtime.device).train(schedule.dropout)  # type: ignore[arg-type]
        objective.to(runtime.device)
        # The other processes wait for the leading one.
        quiet = computing(runtime.device) if team.leads else nullcontext(_nothing)
        let_pass = stack.enter_context(quiet)
        frozen = schedule.freeze_embeddings or freeze_model
        stack.enter_context(stream_of_its_own(runtime.device))
        stack.enter_context(_frozen(model) if freeze_model else nullcontext())
        stack.enter_context(word_embeddings(model, data, pad_id, frozen=frozen))
        stack.enter_context(hidden_words(model, word_dropout))
        precision = working_precision(model, runtime, objective, frozen=freeze_model)
        weights = stack.enter_context(precision)
        pace = Pace(schedule, schedule.steps(data.sizes), until)
        optimizer = _optimizer(weights.trained, schedule, runtime)
        key = _key(objective, data, schedule, freeze_model=freeze_model, word_dropout=word_dropout)
        state = Checkpoint(checkpoint, key, weights=weights, optimizer=optimizer, pace=pace)
        _resume(state, team)
        training = _Training(
            model, objective, data, source, pad_id, weights, optimizer, pace, runtime, team
        )
        try:
            training.run(state, title, let_pass)
        except FloatingPointError as error:
            state.drop()
            raise DivergedError(f"{title} diverged: {error}; {remedy}") from None
        if pace.progress < 1:
            state.save()
    for parameter in () if freeze_model else model.parameters():
        increment_version(parameter)  # fused optimisers leave no trace of their changes
    model.eval()
    return TrainResult(pace.step, time.perf_counter() - start, pace.curve)


def _key(
    objective: WeightedLosses,
    data: EncodedExamples,
    schedule: Schedule,
    *,
    freeze_model: bool,
    word_dropout: float,
) -> str:
    """What a checkpoint must be of for a training to go on from it."""
    key = f"{schedule} {objective.described}{' alone' if freeze_model else ''}"
    key += f" without {word_dropout:g} of the words" if word_dropout else ""
    return key if data.class_weights is None else f"{key} {data.class_weights.tolist()}"


def _resume(state: Checkpoint, team: Team) -> None:
    """Loads a checkpoint where there is one; the team's other processes take the leader's."""
    resumed = team.broadcast(state.state_dict() if state.load() else None)
    if resumed and not team.leads:
        state.load_state_dict(resumed)


@dataclass(frozen=True)
class _Training:
    """All that one step touches."""

    model: PreTrainedModel
    objective: WeightedLosses
    data: EncodedExamples
    source: TeacherSignal
    pad_id: int
    weights: Masters
    optimizer: torch.optim.AdamW
    pace: Pace
    runtime: Runtime
    team: Team

    def run(self, state: Checkpoint, title: str, let_pass: Callable[[], None]) -> None:
        """Takes the steps that are left, and keeps a checkpoint; `let_pass` is called after each.

        Raises:
            FloatingPointError: A loss, or a weight in the end, is not finite.
        """
        pace, even = self.pace, captures(self.model, self.objective, self.runtime)
        step = self.in_graphs() if even else self.step
        left = round(pace.until * pace.steps) - pace.step
        with progress(title, left) if self.team.leads else nullcontext(_nothing) as advance:
            for indices in _plans(self.data.sizes, pace, even):
                # Afresh at each step: dropout then draws the same after an interruption.
                seed = pace.schedule.seed + pace.step + self.team.rank * NEXT_SEED
                seed_all(seed, self.runtime.device)
                pace.advance(*step(indices))
                advance(f"loss {pace.curve[-1][1]:.4f}")
                state.save_if_due()
                let_pass()
        _check_weights(self.weights)

    def step(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Forward, backward, update on some examples; returns loss and norm of the gradient."""
        self._set_pace()
        return self._compute(*self._part(indices), self.source)

    def in_graphs(self) -> Callable[[Indices], tuple[Tensor, Tensor]]:
        """The same; steps whose kind comes again are replayed as CUDA graphs."""
        compute = CapturedSteps(
            lambda batch, own: self._compute(batch, None, KnownSignal(own)), self._drop_gradients
        )
        device, stride = self.runtime.device, self.pace.schedule.stride
        longest = padded(int(self.data.lengths.max()))

        def step(indices: Indices) -> tuple[Tensor, Tensor]:
            self._set_pace()
            batch = collate(self.data, indices, self.pad_id, stride, even=longest).to(device)
            return compute(batch, self.source.fetch(batch, self.objective.of_teacher))

        return step

    def _drop_gradients(self) -> None:
        for parameter in (*self.weights.modules.parameters(), *self.weights.trained):
            parameter.grad = None

    def _set_pace(self) -> None:
        """Tells the objective and the optimiser how far the training is."""
        self.objective.ramp.fill_(self.pace.ramp)
        for group in self.optimizer.param_groups:
            rate, now = group["lr"], self.pace.learning_rate
            on_gpu = isinstance(rate, Tensor)  # a checkpoint brings it back on the CPU
            group["lr"] = rate.to(self.runtime.device).fill_(now) if on_gpu else now

    def _compute(
        self, batch: Batch, shares: dict[str, float] | None, source: TeacherSignal
    ) -> tuple[Tensor, Tensor]:
        with self.runtime.autocast():
            loss: Tensor = self.objective(self.model, batch, source, shares)["total"]
        self.runtime.accelerator.backward(loss)
        self.weights.take_gradients()
        loss = self._summed(loss.detach())
        # An infinite norm would clip the gradient to nothing, and the training would stand still.
        norm = self.runtime.accelerator.clip_grad_norm_(self.weights.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.weights.publish()
        return loss, norm

    def _part(self, indices: Indices) -> tuple[Batch, dict[str, float] | None]:
        """What this process computes of a batch, and what its losses count for in the batch's."""
        device, stride = self.runtime.device, self.pace.schedule.stride
        whole = collate(self.data, indices, self.pad_id, stride)
        if self.team.size == 1:
            return whole.to(device), None
        rank, size = self.team.rank, self.team.size
        part = part_of(self.data, indices, self.pad_id, stride, rank, size)
        shares = self.objective.shares(part, whole)
        nothing_left = rank >= len(indices)
        return part.to(device), dict.fromkeys(shares, 0.0) if nothing_left else shares

    def _summed(self, loss: Tensor) -> Tensor:
        """The whole batch's loss; the gradients, in place, become the whole batch's, too."""
        if self.team.size == 1:
            return loss
        gradients = [p.grad for p in self.weights.trained if p.grad is not None]
        flat = torch.cat([loss.float().view(1), *(g.flatten() for g in gradients)])
        sums = torch.split(self.team.total(flat), [1, *(g.numel() for g in gradients)])
        totals = [s.view_as(g) for s, g in zip(sums[1:], gradients, strict=True)]
        torch._foreach_copy_(gradients, totals)
        total: Tensor = sums[0].view(())
        return total


@torch.no_grad()
def heldout_losses(
    model: PreTrainedModel,
    objective: WeightedLosses,
    data: EncodedExamples,
    source: TeacherSignal,
    runtime: Runtime,
    *,
    pad_id: int,
) -> dict[str, float]:
    """Each loss's held-out value by name, dropout off, each token or example counting once."""
    model.eval()
    objective.to(runtime.device)
    sums, totals = dict.fromkeys(objective.ends, 0.0), dict.fromkeys(objective.ends, 0)
    with computing(runtime.device) as let_pass, working_precision(model, runtime):
        for batch in batches_once(data, pad_id, runtime.device, outputs_a_token(model)):
            let_pass()
            with runtime.autocast():
                losses = objective.heldout_values(model, batch, source)
            for name, count in objective.counts(batch).items():
                sums[name] += float(losses[name]) * count
                totals[name] += count
    return {name: value / totals[name] for name, value in sums.items()}


def predict(
    model: PreTrainedModel, data: EncodedExamples, runtime: Runtime, *, pad_id: int
) -> Tensor:
    """What a model says of some data, in their order, as the type of their task decodes it.

    Logits, shape (units, outputs), float32 on the CPU; of a type that generates the token ids of
    `generate`.
    """
    if TASK_TYPES[data.task_type].generates:
        return generate(model, data, runtime, pad_id=pad_id)
    return logits_of(model, data, runtime, pad_id=pad_id)


@torch.no_grad()
def logits_of(
    model: PreTrainedModel, data: EncodedExamples, runtime: Runtime, *, pad_id: int
) -> Tensor:
    """Logits in the order of the data, shape (units, outputs), float32 on the CPU."""
    model.to(runtime.device).eval()  # type: ignore[arg-type]
    logits = torch.empty(0, 0)
    with computing(runtime.device) as let_pass, working_precision(model, runtime):
        for batch in batches_once(data, pad_id, runtime.device, outputs_a_token(model)):
            let_pass()
            with runtime.autocast():
                output = forward(model, batch, OutputRequest(logits=True))
            assert output.logits is not None
            if not len(logits):
                logits = torch.empty(int(data.unit_offsets[-1]), output.logits.shape[1])
            rows = ragged_rows(data.unit_offsets, batch.indices)
            logits[torch.from_numpy(rows)] = output.logits.cpu()
    return logits


def _plans(sizes: Indices, pace: Pace, even: bool) -> Iterator[Indices]:
    """The examples of each batch that is still to be trained on, epoch after epoch."""
    skip = pace.step
    for epoch in itertools.count():
        plan = pace.schedule.plan(sizes, epoch, even=even)
        for indices in plan[skip:]:
            if pace.done:
                return
            yield indices
        skip = max(0, skip - len(plan))


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """No parameter takes a gradient meanwhile."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _check_weights(weights: Masters) -> None:
    """Raises FloatingPointError where the last update left weights that are not finite."""
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.trained):
        raise FloatingPointError("weights are not finite at its end")


def _optimizer(
    trained: list[nn.Parameter], schedule: Schedule, runtime: Runtime
) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if runtime.device.type != "cuda":
        return torch.optim.AdamW(groups, lr=schedule.lr, fused=True)
    rate = torch.tensor(schedule.lr, device=runtime.device)
    return torch.optim.AdamW(groups, lr=rate, fused=True, capturable=True)
