"""Training steps as CUDA graphs: captured once for each kind of batch, then replayed.

A small student's step is hundreds of kernels of a few microseconds each; launching them one by one
takes far longer than they do. A graph launches them all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation import packing
from kdnas.distillation.batches import Batch, tensors_of
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.modules import can_pack, family
from kdnas.distillation.outputs import ModelOutputs
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.space.derivation import teacher_architecture

# Kinds of batches that are captured in one training; each takes memory.
MOST = 12
# A kind that has come so often comes again; before, its steps run as they are and warm up.
TIMES_BEFORE = 1

Compute = Callable[[Batch, ModelOutputs], tuple[Tensor, Tensor]]


def captures(model: PreTrainedModel, objective: WeightedLosses, runtime: Runtime) -> bool:
    """Whether steps of a training can be captured: nothing in them depends on a batch's values.

    With dropout, attention is computed on padded rows, whose number differs between batches.
    """
    if runtime.device.type != "cuda" or runtime.precision != "bf16" or runtime.team.size > 1:
        return False
    if model.training:
        return False
    shape = teacher_architecture(model.config, family(model))
    sizes = (0, shape.num_attention_heads, shape.head_size)
    query = torch.empty(*sizes, dtype=torch.bfloat16, device=runtime.device)
    fixed = not objective.varies
    fixed &= all(s.kind in ("hidden", "first") for s in objective.of_student.states)
    # Even batches leave some tokens out.
    fixed &= not any(loss.needs_all_tokens(loss.options) for loss in objective.named.values())
    return fixed and can_pack(model) and packing.varlen is not None and packing.fits_varlen(query)


@contextmanager
def stream_of_its_own(device: torch.device) -> Iterator[None]:
    """Runs a GPU's work on a stream of its own: the usual one cannot be captured."""
    if device.type != "cuda":
        yield
        return
    usual, own = torch.cuda.current_stream(device), _stream(device)
    own.wait_stream(usual)
    try:
        with torch.cuda.stream(own):
            yield
    finally:
        usual.wait_stream(own)


@cache
def _stream(device: torch.device) -> Any:
    """One for all trainings: torch keeps freed memory for the stream that had it."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Captured:
    """A graph, the tensors that it reads, and its outputs."""

    graph: Any
    reads: list[Tensor]
    loss: Tensor
    norm: Tensor


class CapturedSteps:
    """Computes steps; kinds of batches that come again are captured.

    Args:
        compute: Forward, backward and update on a batch and its teacher's signal; returns loss and
            norm of the gradient.
        drop_gradients: Called where capturing broke off half-way.
    """

    def __init__(self, compute: Compute, drop_gradients: Callable[[], None]) -> None:
        self.compute, self.drop_gradients = compute, drop_gradients
        self.graphs: dict[Any, _Captured] = {}
        self.seen: Counter[Any] = Counter()
        self.pool: Any = None
        self.most = MOST

    def __call__(self, batch: Batch, signal: ModelOutputs) -> tuple[Tensor, Tensor]:
        """One step."""
        given = tensors_of(batch, signal)
        kind = (batch.packing.shape, *((t.shape, t.dtype) for t in given))
        found = self.graphs.get(kind)
        if found is None:
            self.seen[kind] += 1
            if self.seen[kind] <= TIMES_BEFORE or len(self.graphs) >= self.most:
                return self.compute(batch, signal)
            found = self._capture(batch, signal)
            if found is None:
                return self.compute(batch, signal)
            self.graphs[kind] = found
        torch._foreach_copy_(found.reads, given)
        found.graph.replay()
        return found.loss, found.norm

    def _capture(self, batch: Batch, signal: ModelOutputs) -> _Captured | None:
        """A graph of the step; None where the model does what no graph can."""
        own, theirs = batch.map(torch.clone), signal.map(torch.clone)
        graph = torch.cuda.CUDAGraph()
        if self.pool is None:
            self.pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.current_stream()
        try:
            mode = "thread_local"
            with torch.cuda.graph(graph, self.pool, stream, capture_error_mode=mode):
                loss, norm = self.compute(own, theirs)
        except RuntimeError as error:
            self.most = 0
            self.drop_gradients()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            say(f"training runs without CUDA graphs: {reason}")
            return None
        return _Captured(graph, tensors_of(own, theirs), loss, norm)
