"""Token ids of a split, stored ragged: no padding, so that batches can be cut to any length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.examples import Examples

_CHUNK = 4096


@dataclass(frozen=True)
class EncodedExamples:
    """Tokenised examples, one after the other.

    Attributes:
        input_ids: int32, all token ids.
        token_type_ids: int8, as long; None where the tokenizer gives none.
        offsets: int64, (n + 1): example i is at offsets[i] to offsets[i + 1].
        labels: int64 class ids or float32 scores; None where unlabelled.
    """

    input_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int8] | None
    offsets: NDArray[np.int64]
    labels: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.offsets)

    def take(self, indices: Sequence[int] | NDArray[Any]) -> EncodedExamples:
        """The examples at these positions, in this order."""
        chosen = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[chosen]
        offsets = _offsets(lengths)
        # Position of each token: its example's old start, plus how far into the example it is.
        shift = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], lengths)
        tokens = np.arange(offsets[-1], dtype=np.int64) + shift
        types = self.token_type_ids
        return EncodedExamples(
            input_ids=self.input_ids[tokens],
            token_type_ids=None if types is None else types[tokens],
            offsets=offsets,
            labels=None if self.labels is None else self.labels[chosen],
        )

    def joined(self, others: EncodedExamples) -> EncodedExamples:
        """These examples and then the others, without labels."""
        types = None
        if self.token_type_ids is not None and others.token_type_ids is not None:
            types = np.concatenate([self.token_type_ids, others.token_type_ids])
        return EncodedExamples(
            input_ids=np.concatenate([self.input_ids, others.input_ids]),
            token_type_ids=types,
            offsets=np.concatenate([self.offsets, others.offsets[1:] + self.offsets[-1]]),
        )

    def fingerprint(self) -> str:
        """A SHA-256 of the content, the same in every process and on every machine."""
        digest = hashlib.sha256()
        for name in ("input_ids", "token_type_ids", "offsets", "labels"):
            array = getattr(self, name)
            if array is not None:
                little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
                digest.update(little.tobytes())
        return digest.hexdigest()


def encode(examples: Examples, tokenizer: Any, max_length: int) -> EncodedExamples:
    """Tokenises a split; texts longer than max_length lose tokens from the longer of a pair.

    Args:
        examples: The split.
        tokenizer: A tokenizer of transformers.
        max_length: Most tokens an example, special tokens included.
    """
    ids: list[NDArray[np.int32]] = []
    types: list[NDArray[np.int8]] = []
    lengths: list[int] = []
    for start in range(0, len(examples), _CHUNK):
        chunk = _tokenise(examples, slice(start, start + _CHUNK), tokenizer, max_length)
        lengths += map(len, chunk["input_ids"])
        ids += (np.array(row, dtype=np.int32) for row in chunk["input_ids"])
        types += (np.array(row, dtype=np.int8) for row in chunk.get("token_type_ids", ()))
    return EncodedExamples(
        input_ids=np.concatenate([np.zeros(0, np.int32), *ids]),
        token_type_ids=np.concatenate(types) if types else None,
        offsets=_offsets(np.array(lengths, dtype=np.int64)),
        labels=examples.labels,
    )


def _tokenise(examples: Examples, rows: slice, tokenizer: Any, max_length: int) -> Any:
    return tokenizer(
        examples.text[rows],
        None if examples.text_pair is None else examples.text_pair[rows],
        truncation="longest_first",
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        verbose=False,
    )


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
