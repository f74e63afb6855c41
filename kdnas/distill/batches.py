"""Batches of ragged examples: similar lengths together, padded to few distinct lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.tasks.encode import EncodedExamples

PAD_MULTIPLE = 16
WINDOW = 50

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Padded examples.

    Attributes:
        indices: Shape (batch,): which examples of the data these are.
        inputs: `input_ids`, `attention_mask` and, where the tokenizer makes them,
            `token_type_ids`, each of shape (batch, length).
        labels: Shape (batch,), or None.
    """

    indices: Indices
    inputs: dict[str, Tensor]
    labels: Tensor | None

    @property
    def tokens(self) -> Tensor:
        """Shape (batch, length), bool: the real tokens, not padding."""
        return self.inputs["attention_mask"].bool()

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        inputs = {k: v.to(device, non_blocking=True) for k, v in self.inputs.items()}
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return Batch(self.indices, inputs, labels)


def plan_epoch(lengths: Indices, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """The batches of one training epoch, each a set of examples of similar length.

    Args:
        lengths: Shape (examples,): tokens of each.
        batch_size: Examples a batch.
        seed: With the epoch, it decides the order.
        epoch: Counted from 0.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    batches: list[Indices] = []
    for start in range(0, len(order), batch_size * WINDOW):
        window = order[start : start + batch_size * WINDOW]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def plan_once(lengths: Indices, batch_size: int) -> list[Indices]:
    """Batches that go over the data once, by length, for evaluation."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def collate(data: EncodedExamples, indices: Indices, pad_id: int) -> Batch:
    """Pads examples on the right to a common multiple of 16 tokens."""
    starts, ends = data.offsets[indices], data.offsets[indices + 1]
    length = int(-(-(ends - starts).max() // PAD_MULTIPLE) * PAD_MULTIPLE)
    shape = (len(indices), length)
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    types = None if data.token_type_ids is None else np.zeros(shape, dtype=np.int64)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ids[row, : end - start] = data.input_ids[start:end]
        mask[row, : end - start] = 1
        if types is not None and data.token_type_ids is not None:
            types[row, : end - start] = data.token_type_ids[start:end]
    inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    if types is not None:
        inputs["token_type_ids"] = torch.from_numpy(types)
    labels = None if data.labels is None else torch.from_numpy(data.labels[indices])
    return Batch(indices, inputs, labels)


def batches_once(
    data: EncodedExamples, batch_size: int, pad_id: int, device: torch.device
) -> Iterator[Batch]:
    """The data once, by length, on a device."""
    for indices in plan_once(data.lengths, batch_size):
        yield collate(data, indices, pad_id).to(device)
