"""The training core: mini-KD, full KD, task training and teacher fine-tuning are all this loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from kdnas.console import progress
from kdnas.distill.batches import Batch, batches_once, collate, plan_epoch
from kdnas.distill.checkpoint import Checkpoint
from kdnas.distill.objective import Objective
from kdnas.distill.signal import TeacherSignal
from kdnas.runtime import Runtime
from kdnas.tasks.encode import EncodedExamples

NOTE_EVERY = 20

LogLoss = Callable[[int, float], None]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the data; fractions are allowed.
        lr: Peak learning rate of AdamW.
        batch_size: Examples a step.
        seed: Decides the order of the examples and what dropout drops.
        warmup: Share of the steps over which the learning rate rises; then it falls to 0.
        weight_decay: Of the matrices; biases and normalisations have none.
        dropout: Whether the model's dropout is on. Attention with dropout is not fused.
        freeze_embeddings: Whether the word embeddings stay as they are.
    """

    epochs: float
    lr: float
    batch_size: int = 32
    seed: int = 0
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: bool = False
    freeze_embeddings: bool = False

    def steps(self, examples: int) -> int:
        """Steps in all, at least 1."""
        return max(1, round(self.epochs * -(-examples // self.batch_size)))


@dataclass
class TrainResult:
    """What a training did: steps, wall seconds, and (step, total loss) now and then."""

    steps: int
    seconds: float
    curve: list[tuple[int, float]] = field(default_factory=list)


def train(
    model: PreTrainedModel,
    objective: Objective,
    data: EncodedExamples,
    source: TeacherSignal,
    recipe: Recipe,
    runtime: Runtime,
    *,
    pad_id: int,
    title: str = "training",
    checkpoint: Path | None = None,
) -> TrainResult:
    """Trains a model, and the objective's own parameters, in place.

    Args:
        model: On return it is in evaluation mode, on the runtime's device.
        objective: What is minimised.
        data: Examples to train on.
        source: The teacher's signal for the same examples.
        recipe: How.
        runtime: Where.
        pad_id: Token that fills short rows.
        title: Names the job where progress is shown.
        checkpoint: File that a killed training continues from; removed at the end.
    """
    start = time.perf_counter()
    model.to(runtime.device).train(recipe.dropout)  # type: ignore[arg-type]
    objective.to(runtime.device)
    embeddings = model.get_input_embeddings()
    embeddings.requires_grad_(not recipe.freeze_embeddings)
    steps = recipe.steps(len(data))
    trained = [p for p in (*model.parameters(), *objective.parameters()) if p.requires_grad]
    optimizer = _optimizer(trained, recipe)
    schedule = get_linear_schedule_with_warmup(optimizer, int(recipe.warmup * steps), steps)
    state = Checkpoint(checkpoint, model, objective, optimizer, schedule)
    first = state.load()
    result = TrainResult(steps, 0.0, state.curve)
    torch.manual_seed(recipe.seed + first)
    with runtime.training_attention(model), progress(title, steps - first) as advance:
        for step, batch in _batches(data, recipe, steps, first, pad_id, runtime):
            with runtime.autocast():
                loss = objective(model, batch, source)["total"]
            runtime.accelerator.backward(loss)
            runtime.accelerator.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if step % NOTE_EVERY == 0 or step == steps - 1:
                result.curve.append((step + 1, float(loss.detach())))
            advance(f"loss {result.curve[-1][1]:.4f}" if result.curve else "")
            state.save_now_and_then(step + 1)
    state.remove()
    embeddings.requires_grad_(True)
    model.eval()
    result.seconds = time.perf_counter() - start
    return result


@torch.no_grad()
def heldout_losses(
    model: PreTrainedModel,
    objective: Objective,
    data: EncodedExamples,
    source: TeacherSignal,
    runtime: Runtime,
    *,
    pad_id: int,
    batch_size: int,
) -> dict[str, float]:
    """Each loss by name on held-out examples, dropout off, each token counting once."""
    model.eval()
    sums: dict[str, float] = {}
    tokens = 0
    for batch in batches_once(data, batch_size, pad_id, runtime.device):
        with runtime.autocast():
            losses = objective(model, batch, source)
        count = int(batch.tokens.sum())
        tokens += count
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value) * count
    return {name: value / tokens for name, value in sums.items()}


@torch.no_grad()
def predict(
    model: PreTrainedModel,
    data: EncodedExamples,
    runtime: Runtime,
    *,
    pad_id: int,
    batch_size: int = 64,
) -> torch.Tensor:
    """Logits in the order of the data, shape (examples, classes), float32 on the CPU."""
    model.to(runtime.device).eval()  # type: ignore[arg-type]
    logits = torch.empty(len(data), model.config.num_labels)
    for batch in batches_once(data, batch_size, pad_id, runtime.device):
        with runtime.autocast():
            output = model(**batch.inputs)
        logits[torch.from_numpy(batch.indices)] = output.logits.float().cpu()
    return logits


def _batches(
    data: EncodedExamples, recipe: Recipe, steps: int, first: int, pad_id: int, runtime: Runtime
) -> Iterator[tuple[int, Batch]]:
    step = epoch = 0
    while step < steps:
        for indices in plan_epoch(data.lengths, recipe.batch_size, recipe.seed, epoch):
            if first <= step < steps:
                yield step, collate(data, indices, pad_id).to(runtime.device)
            step += 1
        epoch += 1


def _optimizer(trained: list[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
