"""Texts that models write for some data, batch by batch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.batches import FORWARD_OUTPUTS, collate, forward_tokens, plan_once
from kdnas.distillation.modules import family, outputs_a_token
from kdnas.measure.quiet import computing
from kdnas.runtime.console import progress
from kdnas.runtime.device import Runtime, seed_all
from kdnas.space.derivation import teacher_architecture
from kdnas.tasks import TASK_TYPES, EncodedExamples
from kdnas.tasks.encode import Indices
from kdnas.tasks.sequences.generate import PLAIN, most_new_tokens, writing_by
from kdnas.tasks.sequences.targets import LONGEST

SEED = 0  # of a generation config that samples
# Keys and values of written tokens that a batch may keep: 4 GB in float32.
CACHED = 2**30
# What shows how fast a model writes: rows, tokens of each.
PROBED_ROWS, PROBED_TOKENS = 16, 8

# Makes token ids, shape (batch, tokens), of a batch's inputs.
Write = Callable[[Mapping[str, Tensor]], Tensor]


@torch.no_grad()
def generate(
    model: PreTrainedModel, data: EncodedExamples, runtime: Runtime, *, pad_id: int
) -> Tensor:
    """Token ids in the order of the data, shape (examples, tokens), int64 on the CPU.

    Sources of similar lengths share a batch, of fewer examples where beams are many or the model is
    large. Shorter texts are filled with the padding token.
    """
    return in_order(written_batches(model, data, runtime, pad_id=pad_id), len(data), pad_id)


def in_order(batches: Iterable[tuple[Indices, Tensor]], examples: int, pad_id: int) -> Tensor:
    """Token ids of all examples, shape (examples, tokens), from batches of them."""
    written: list[Tensor] = [torch.empty(0, dtype=torch.long)] * examples
    for indices, found in batches:
        for example, ids in zip(indices, found, strict=True):
            written[example] = ids
    return torch.nn.utils.rnn.pad_sequence(written, batch_first=True, padding_value=pad_id)


@torch.no_grad()
def written_batches(
    model: PreTrainedModel,
    data: EncodedExamples,
    runtime: Runtime,
    *,
    pad_id: int,
    few: bool = False,
) -> Iterator[tuple[Indices, Tensor]]:
    """Batches of examples with their token ids, shape (batch, tokens), on the CPU.

    With `few`, a batch has fewer examples, so that less is lost where the job is cut off.
    """
    kind, device = TASK_TYPES[data.task_type], runtime.device
    model.to(device).eval()  # type: ignore[arg-type]
    beams = beams_of(model)
    parts = beams * (4 if few else 1)
    seeded = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])

    def write(inputs: Mapping[str, Tensor]) -> Tensor:
        with runtime.autocast():
            return kind.generate(model, inputs).cpu()

    with seeded:
        seed_all(SEED, device)
        yield from written_by(
            write, data, device, pad_id=pad_id, parts=parts, rows=writable_rows(model)
        )


def writable_rows(model: PreTrainedModel) -> int:
    """For how many rows a model can write at a time, as its generation config says.

    Each beam has outputs for a whole vocabulary, and keys and values of all that it wrote.
    """
    decoder = teacher_architecture(model.config, family(model)).stacks[-1]
    kept = most_new_tokens(model, LONGEST) * 2 * decoder.num_hidden_layers * decoder.heads_width
    texts = min(FORWARD_OUTPUTS // outputs_a_token(model), CACHED // kept)
    return max(1, texts // beams_of(model))


def written_by(
    write: Write,
    data: EncodedExamples,
    device: torch.device,
    *,
    pad_id: int,
    parts: int = 1,
    rows: int | None = None,
) -> Iterator[tuple[Indices, Tensor]]:
    """Batches of examples with what a function makes of their inputs on a device.

    A batch has a share, one of `parts`, of the tokens that a model reads at a time, and about so
    many `rows` at most.
    """
    plan = plan_once(data.lengths, max(1, forward_tokens(device) // parts), rows)
    with computing(device) as let_pass, progress("writing texts, batch", len(plan)) as advance:
        for indices in plan:
            let_pass()
            yield indices, write(collate(data, indices, pad_id).to(device).inputs)
            advance("")


def beams_of(model: PreTrainedModel, least: int = 1) -> int:
    """Beams that a model searches with, by its generation config; `least` where those are fewer."""
    return max(least, int(model.generation_config.num_beams or 1))


def beam_search(model: PreTrainedModel, beams: int) -> AbstractContextManager[None]:
    """A model searches with so many beams meanwhile, or more where its own settings say so."""
    own = copy.deepcopy(model.generation_config)
    own.update(num_beams=beams_of(model, beams), num_return_sequences=1, do_sample=False)
    return writing_by(model, own)


@torch.no_grad()
def seconds_a_row(
    model: PreTrainedModel, data: EncodedExamples, runtime: Runtime, pad_id: int
) -> float:
    """What a model takes to write a row's text, as long as targets of some data are on average.

    It is worked out from a few tokens for a few rows.
    """
    few = np.arange(min(len(data), PROBED_ROWS))
    batch = collate(data, few, pad_id).to(runtime.device)
    read = {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}
    model.to(runtime.device).eval()  # type: ignore[arg-type]
    lengths, times = ("min_new_tokens", "max_new_tokens"), []
    for tokens in (1, 1 + PROBED_TOKENS):
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]), runtime.autocast():
            model.generate(**read, **dict.fromkeys(lengths, tokens), **PLAIN).cpu()
        times.append(time.perf_counter() - start)
    step = max(0.0, times[1] - times[0]) / PROBED_TOKENS
    length = float(np.diff(data.unit_offsets).mean()) if len(data) else 0.0
    return (times[0] + step * length) / max(1, len(few))
