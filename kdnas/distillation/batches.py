"""Batches of ragged examples: about equally many tokens, similar lengths together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.distillation.packing import Packing, Sample, even_sample
from kdnas.runtime.device import moved_together
from kdnas.runtime.interrupt import check
from kdnas.tasks import TASK_TYPES, EncodedExamples, TaskType
from kdnas.tasks.encode import Units, ragged_rows

PAD_MULTIPLE = 16
# Of what a decoder reads: every position of its output is multiplied by a whole vocabulary.
DECODER_MULTIPLE = 8
WINDOW = 50
LEAST_WINDOWS = 4
# Tokens of a forward pass; a GPU is not filled by fewer.
FORWARD_TOKENS = 2048
FORWARD_TOKENS_GPU = 32768
# Numbers that a model which gives a whole vocabulary for each token may give in one of them: 1 GB.
FORWARD_OUTPUTS = 2**28

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Padded examples.

    Attributes:
        indices: Shape (batch,): which examples of the data these are.
        inputs: `input_ids`, `attention_mask` and, where the tokenizer makes them,
            `token_type_ids`, each of shape (batch, length); for a model with a decoder also
            `decoder_input_ids`, of shape (batch, decoder length).
        labels: One row for each unit, or None.
        units: Where the units are in a model's output.
        packing: Where the real tokens are.
        sample: Which of the real tokens have their hidden states compared; on the CPU.
        picked: The same on the batch's device, where it is no slice.
        class_weights: Shape (classes,), in the task's loss; None where all are 1.
        whole: Of a part that one of several processes computes: the examples of the whole batch.
    """

    indices: Indices
    inputs: dict[str, Tensor]
    labels: Tensor | None
    task: TaskType
    units: Units
    packing: Packing
    sample: slice | Indices = field(default_factory=lambda: slice(None))
    picked: Tensor | None = None
    class_weights: Tensor | None = None
    whole: Indices | None = None

    @property
    def compared(self) -> Sample:
        """Which of the real tokens have their hidden states compared."""
        if self.picked is not None:
            return self.picked
        assert isinstance(self.sample, slice)
        return self.sample

    @property
    def compared_count(self) -> int:
        """How many those are."""
        if isinstance(self.sample, slice):
            return len(range(self.packing.count)[self.sample])
        return len(self.sample)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same with each tensor changed, always in the same order."""

        def changed(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return replace(
            self,
            inputs={name: change(value) for name, value in self.inputs.items()},
            units=self.units.map(change),
            packing=self.packing.map(change),
            labels=changed(self.labels),
            picked=changed(self.picked),
            class_weights=changed(self.class_weights),
        )

    def to(self, device: torch.device) -> Batch:
        moved = iter(moved_together(tensors_of(self), device))
        return self.map(lambda _: next(moved))


class _Mapped(Protocol):
    def map(self, change: Callable[[Tensor], Tensor]) -> Any: ...


def tensors_of(*parts: _Mapped) -> list[Tensor]:
    """The tensors of what has a `map`, in its order."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for part in parts:
        part.map(note)
    return found


def plan_epoch(
    lengths: Indices, batch_size: int, seed: int, epoch: int, *, even: bool = False
) -> list[Indices]:
    """The batches of one training epoch: equally many tokens, about, in examples of similar length.

    `lengths`, shape (examples,), are their tokens; a batch has `batch_size` examples on average. As
    for `even`, see `_even_batches`.

    Examples are sorted within windows of WINDOW batches, and within quarters of the data at most,
    as in transformers' `group_by_length`: sorted as a whole, batches of a task whose labels go with
    the length of its texts have one label each.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    if even:
        return _even_batches(order, lengths, batch_size, rng)
    tokens = batch_size * float(lengths.mean())
    window = batch_size * _window(len(order), batch_size)
    batches: list[Indices] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        batches += _runs(part[np.argsort(lengths[part], kind="stable")], lengths, tokens)
    return [batches[i] for i in rng.permutation(len(batches))]


def _window(examples: int, batch_size: int) -> int:
    """Batches whose examples are sorted together."""
    return max(1, min(WINDOW, examples // (LEAST_WINDOWS * batch_size)))


def plan_once(
    lengths: Indices, tokens: int = FORWARD_TOKENS, rows: int | None = None
) -> list[Indices]:
    """Batches that go over the data once, by length, for evaluation.

    They have about so many `tokens`, and about so many `rows` at most.
    """
    sizes = lengths if rows is None else np.maximum(lengths, -(-tokens // rows))
    return _runs(np.argsort(lengths, kind="stable"), sizes, tokens)


def forward_tokens(device: torch.device, outputs: int = 1) -> int:
    """Tokens of a batch that is not trained on, where each gets so many outputs."""
    most = FORWARD_TOKENS if device.type == "cpu" else FORWARD_TOKENS_GPU
    return max(1, min(most, FORWARD_OUTPUTS // outputs))


def part_of(
    data: EncodedExamples, indices: Indices, pad_id: int, stride: int, rank: int, size: int
) -> Batch:
    """What one of several processes computes of a batch: whole examples, about equally many.

    The parts together compare the tokens that the whole batch would. A process without examples
    gets the first one, with weight 0.
    """
    parts = np.array_split(indices, size)
    own, first = parts[rank], sum(map(len, parts[:rank]))
    part = collate(data, own if len(own) else indices[:1], pad_id)
    before = int(data.lengths[indices[:first]].sum())
    start = (int(indices.sum()) - before) % stride
    return replace(part, sample=slice(start, None, stride), whole=indices)


def padded(length: int, multiple: int = PAD_MULTIPLE) -> int:
    """The padded length of a batch whose longest example has `length` tokens."""
    return -(-length // multiple) * multiple


def collate(
    data: EncodedExamples,
    indices: Indices,
    pad_id: int,
    stride: int = 1,
    *,
    even: int = 0,
    fill: bool = True,
) -> Batch:
    """Pads examples on the right to a common multiple of 16 tokens, of 8 for a decoder.

    Hidden states are compared at every `stride`-th token; where that starts differs by batch.

    Batches whose shapes are to be among few are padded to `even` tokens, their packed rows are
    rounded up, and at most an eighth fewer hidden states, evenly spread, are compared. Without
    `fill`, attention is over the examples alone, as suits batches that are not trained on.
    """
    task = TASK_TYPES[data.task_type]
    lengths = data.offsets[indices + 1] - data.offsets[indices]
    length = even or padded(int(lengths.max()))
    mask = np.arange(length) < lengths[:, None]
    # In row-major order the mask's true cells are the examples' tokens, one after the other.
    positions = ragged_rows(data.offsets, indices)
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = data.input_ids[positions]
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    if data.token_type_ids is not None:
        types = np.zeros(mask.shape, dtype=np.int64)
        types[mask] = data.token_type_ids[positions]
        inputs["token_type_ids"] = types
    unit_length = length
    if data.decoder_ids is not None:
        inputs["decoder_input_ids"] = _decoder_inputs(data, data.decoder_ids, indices, pad_id)
        unit_length = inputs["decoder_input_ids"].shape[1]
    labels = None
    if data.labels is not None:
        labels = task.collate_labels(data.labels[ragged_rows(data.unit_offsets, indices)])
    packing, start = Packing.of(mask, even=bool(even), fill=fill), int(indices.sum())
    sample: slice | Indices = slice(start % stride, None, stride)
    if even:
        chosen = even_sample(len(packing.cells), stride)
        sample = (np.arange(chosen) * stride + start % stride) * packing.count
        sample //= chosen * stride
    return Batch(
        indices,
        {name: torch.from_numpy(value) for name, value in inputs.items()},
        labels,
        task,
        data.units_of(indices, unit_length),
        packing,
        sample,
        None if isinstance(sample, slice) else torch.from_numpy(sample),
        None if data.class_weights is None else torch.from_numpy(data.class_weights),
    )


def _decoder_inputs(
    data: EncodedExamples, tokens: NDArray[np.int32], indices: Indices, pad_id: int
) -> Indices:
    """What a decoder reads of some examples, shape (batch, decoder length); at least one place.

    No mask goes with it: padding stands behind everything that is read, and a decoder looks back.
    """
    counts = np.diff(data.unit_offsets)[indices]
    length = padded(max(1, int(counts.max())), DECODER_MULTIPLE)
    ids = np.full((len(indices), length), pad_id, dtype=np.int64)
    ids[np.arange(length) < counts[:, None]] = tokens[ragged_rows(data.unit_offsets, indices)]
    return ids


def batches_once(
    data: EncodedExamples, pad_id: int, device: torch.device, outputs: int = 1
) -> Iterator[Batch]:
    """The data once, by length, on a device; ends on Ctrl-C. See `forward_tokens`."""
    for indices in plan_once(data.sizes, forward_tokens(device, outputs)):
        check()
        yield collate(data, indices, pad_id, fill=False).to(device)


def _even_batches(
    order: Indices, lengths: Indices, batch_size: int, rng: np.random.Generator
) -> list[Indices]:
    """Batches of `batch_size` examples of all lengths, so that their tokens are nearly as many.

    Examples that are left over wait for another epoch; those missing in a last batch come twice.
    """
    size = min(batch_size, len(order))
    count = max(1, round(len(order) / size))
    chosen = np.resize(order, count * size)
    ranked = chosen[np.argsort(lengths[chosen], kind="stable")]
    # Each of the batches gets one of the `count` shortest, one of the next, and so on.
    return list(rng.permuted(ranked.reshape(size, count), axis=1).T)


def _runs(order: Indices, lengths: Indices, tokens: float) -> list[Indices]:
    """Splits a sequence of examples into runs of about equally many tokens."""
    sizes = lengths[order]
    total = int(sizes.sum())
    count = min(max(1, round(total / tokens)), len(order))
    middles = np.cumsum(sizes) - sizes / 2
    run = np.floor(middles * count / total).astype(np.int64)
    starts = np.flatnonzero(np.diff(run)) + 1
    return [part for part in np.split(order, starts) if len(part)]
