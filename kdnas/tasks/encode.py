"""Token ids of a split, stored ragged: no padding, so that batches can be cut to any length."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.examples import DEFAULT_TYPE, Examples

if TYPE_CHECKING:  # reading a task's data, and refusing bad ones, takes no seconds for torch
    from torch import Tensor

Indices = NDArray[np.int64]

_CHUNK = 4096
# Texts that are tokenised whole to say how long they are, and how many at a time.
_LOOKED_AT, _FEW = 2000, 64


@dataclass(frozen=True)
class Units:
    """Where the units of a batch are in a model's output, one after the other."""

    example: Tensor  # shape (units,): the example's place in the batch
    position: Tensor | None = None  # likewise in the sequence; None: one unit each
    # How many examples those are of, and the length of their sequences: known without a look at
    # the tensors, which would make a GPU wait.
    examples: int = 0
    length: int = 0

    def __len__(self) -> int:
        return len(self.example)

    def map(self, change: Callable[[Tensor], Tensor]) -> Units:
        """The same with each tensor changed."""
        position = None if self.position is None else change(self.position)
        return Units(change(self.example), position, self.examples, self.length)


@dataclass(frozen=True)
class EncodedExamples:
    """Tokenised examples, one after the other.

    A unit is what a model gives a row of logits for: an example, or some of its positions. A row is
    what the task's data have one of: an example, or all the windows on one long text.
    """

    input_ids: NDArray[np.int32]  # of all examples, without padding
    token_type_ids: NDArray[np.int8] | None  # None where the tokenizer gives none
    offsets: Indices  # (n + 1): example i is at offsets[i] to offsets[i + 1]
    labels: NDArray[Any] | None = None  # a row for each unit, in the form of the task's type
    task_type: str = DEFAULT_TYPE  # a key of TASK_TYPES
    units: Indices | None = None  # (n + 1): example i has units[i] to units[i + 1]; None: one each
    positions: NDArray[np.int32] | None = None  # each unit's place in its sequence
    class_weights: NDArray[np.float32] | None = None  # (classes,) in the task's loss; None: all 1
    rows: Indices | None = None  # (n,): the row of each example, ascending; None: one each
    spans: NDArray[np.int32] | None = None  # (units, 2): where each unit is in its row's text
    # (units,): the tokens that a decoder reads. Units are then its positions, `input_ids` are the
    # encoder's. None for models without a decoder.
    decoder_ids: NDArray[np.int32] | None = None
    # What made the tokens, for types whose predictions are texts.
    tokenizer: Any = field(default=None, compare=False, repr=False)
    # (rows,) plain objects of the task's type: what decoding and scoring read of each row.
    references: NDArray[Any] | None = None
    # (units, outputs): of a black-box teacher; a regression's in the labels' unit.
    teacher_logits: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Indices:
        """Tokens of each example."""
        return np.diff(self.offsets)

    @property
    def sizes(self) -> Indices:
        """Tokens that a model reads of each example: its encoder and, where it has one, decoder."""
        return self.lengths + (0 if self.decoder_ids is None else np.diff(self.unit_offsets))

    @property
    def unit_offsets(self) -> Indices:
        """Shape (n + 1,): the first unit of each example, and the number of all."""
        return np.arange(len(self) + 1) if self.units is None else self.units

    @property
    def row_count(self) -> int:
        """Rows of the task's data that the examples are, or are windows on."""
        if self.references is not None:
            return len(self.references)
        return len(self) if self.rows is None else int(self.rows.max(initial=-1)) + 1

    @property
    def row_units(self) -> Indices:
        """Shape (rows + 1,): the first unit of each row, and the number of all."""
        if self.rows is None:
            return self.unit_offsets
        return self.unit_offsets[np.searchsorted(self.rows, np.arange(self.row_count + 1))]

    def rows_of(self, indices: Indices) -> Indices:
        """The rows that some examples belong to, ascending, each once."""
        return np.unique(indices if self.rows is None else self.rows[indices])

    def examples_of(self, rows: Indices) -> Indices:
        """The examples that belong to some rows, ascending."""
        if self.rows is None:
            return np.sort(rows)
        return np.flatnonzero(np.isin(self.rows, rows))

    def units_of(self, indices: Indices, length: int = 0) -> Units:
        """Where the units of a batch of these examples, padded to a length, are in an output.

        The length is that of the sequences that have the units: with a decoder, of its own.
        """
        import torch

        if self.units is None or self.positions is None:
            return Units(torch.arange(len(indices)), None, len(indices), length)
        counts = np.diff(self.units)[indices]
        positions = self.positions[ragged_rows(self.units, indices)].astype(np.int64)
        example = np.repeat(np.arange(len(indices)), counts)
        places = torch.from_numpy(example), torch.from_numpy(positions)
        return Units(*places, len(indices), length)

    def take(self, indices: Sequence[int] | NDArray[Any]) -> EncodedExamples:
        """The examples at these positions, in this order.

        Rows keep their own order, which that of their windows follows.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        tokens = ragged_rows(self.offsets, chosen)
        units = ragged_rows(self.unit_offsets, chosen)
        counts = None if self.units is None else np.diff(self.units)[chosen]
        kept, rows = chosen, None
        if self.rows is not None:
            kept, rows = np.unique(self.rows[chosen], return_inverse=True)
        return replace(
            self,
            input_ids=self.input_ids[tokens],
            token_type_ids=None if self.token_type_ids is None else self.token_type_ids[tokens],
            offsets=offsets_of(self.lengths[chosen]),
            labels=None if self.labels is None else self.labels[units],
            units=None if counts is None else offsets_of(counts),
            positions=None if self.positions is None else self.positions[units],
            spans=None if self.spans is None else self.spans[units],
            decoder_ids=None if self.decoder_ids is None else self.decoder_ids[units],
            rows=rows,
            references=None if self.references is None else self.references[kept],
            teacher_logits=None if self.teacher_logits is None else self.teacher_logits[units],
        )

    def relabelled(self, labels: NDArray[Any] | None) -> EncodedExamples:
        """The same examples with other labels."""
        return self if labels is self.labels else replace(self, labels=labels)

    def joined(self, others: EncodedExamples) -> EncodedExamples:
        """These examples and then the others, without labels."""

        def both(name: str) -> Any:
            first, second = getattr(self, name), getattr(others, name)
            if first is None or second is None:
                return None
            if name == "rows":
                return np.concatenate([first, second + self.row_count])
            ends = name in ("offsets", "units")
            return np.concatenate([first, second[1:] + first[-1] if ends else second])

        names = ["input_ids", "token_type_ids", "offsets", "units", "positions"]
        names += ["rows", "spans", "references", "decoder_ids", "teacher_logits"]
        return replace(self, labels=None, **{name: both(name) for name in names})

    def fingerprint(self) -> str:
        """A SHA-256 of the content, the same in every process and on every machine."""
        digest = hashlib.sha256()
        names = ("input_ids", "token_type_ids", "offsets", "labels", "units", "positions")
        for name in (*names, "rows", "spans", "decoder_ids", "teacher_logits"):
            array = getattr(self, name)
            if array is not None:
                little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
                digest.update(little.tobytes())
        if self.references is not None:
            for reference in self.references:
                digest.update(repr(reference).encode())
        return digest.hexdigest()


class TokenPlaces(NamedTuple):
    """Where the tokens of an example are in its first text; -1 for tokens of no text.

    Attributes:
        offsets: The characters of each token, shape (tokens, 2).
        chunks: The part of the text that the tokenizer found the token in, shape (tokens,): its
            own words, which are split at other places than a task's.
    """

    offsets: NDArray[np.int32]
    chunks: NDArray[np.int32]


def tokenise(
    examples: Examples,
    tokenizer: Any,
    max_length: int,
    places: list[TokenPlaces] | None = None,
) -> EncodedExamples:
    """Tokenises texts, one unit each; longer ones lose tokens from the longer of a pair.

    Args:
        max_length: Most tokens of an example, special tokens included.
        places: Gets for each example where its tokens are in its first text. Only fast tokenizers
            know.
    """
    ids: list[NDArray[np.int32]] = []
    types: list[NDArray[np.int8]] = []
    for start in range(0, len(examples), _CHUNK):
        rows = slice(start, start + _CHUNK)
        chunk = tokenizer(
            examples.text[rows],
            None if examples.text_pair is None else examples.text_pair[rows],
            truncation="longest_first",
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_offsets_mapping=places is not None,
            verbose=False,
        )
        if places is not None:
            places += map(_places, chunk.encodings)
        ids += (np.array(row, dtype=np.int32) for row in chunk["input_ids"])
        types += (np.array(row, dtype=np.int8) for row in chunk.get("token_type_ids", ()))
    return EncodedExamples(
        input_ids=np.concatenate([np.zeros(0, np.int32), *ids]),
        token_type_ids=np.concatenate(types) if types else None,
        offsets=offsets_of(np.array([len(row) for row in ids], dtype=np.int64)),
        labels=examples.labels,
        task_type=examples.task_type,
    )


def _places(encoding: Any) -> TokenPlaces:
    """Where the tokens of one example are in its first text."""
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    chunks = np.array([-1 if one is None else one for one in encoding.word_ids], np.int32)
    first = np.array([sequence == 0 for sequence in encoding.sequence_ids], bool)
    return TokenPlaces(
        np.where(first[:, None], offsets, np.int32(-1)), np.where(first, chunks, np.int32(-1))
    )


def describe_cut(
    examples: Examples, data: EncodedExamples, tokenizer: Any, max_length: int
) -> str | None:
    """How many of some examples were cut at max_length tokens and how long they are; None: none."""
    lengths = uncut_lengths(examples, data, tokenizer, max_length)
    share = float((lengths > max_length).mean()) if len(lengths) else 0.0
    if not share:
        return None
    percent = "less than 1%" if share < 0.01 else f"{share:.0%}"
    return (
        f"{percent} of the texts are cut at {max_length} tokens; their median length is "
        f"{int(np.median(lengths)):,}"
    )


def uncut_lengths(
    examples: Examples, data: EncodedExamples, tokenizer: Any, max_length: int
) -> Indices:
    """Tokens of each example before it was cut at max_length.

    Of many that may have been cut, or have become several (windows), an even sample is tokenised
    whole and stands for the others.
    """
    if len(data) != len(examples):
        some = _evenly(np.arange(len(examples)))
        return np.resize(_whole_lengths(examples.take(some), tokenizer), len(examples))
    full = np.flatnonzero(data.lengths >= max_length)
    lengths = data.lengths.copy()
    if len(full):
        whole = _whole_lengths(examples.take(_evenly(full)), tokenizer)
        lengths[full] = np.maximum(np.resize(whole, len(full)), max_length)
    return lengths


def _evenly(positions: Indices) -> Indices:
    """At most _LOOKED_AT of some positions, evenly spread."""
    count = min(len(positions), _LOOKED_AT)
    return positions[np.linspace(0, len(positions) - 1, count).astype(np.int64)]


def _whole_lengths(examples: Examples, tokenizer: Any) -> Indices:
    """Tokens of each example, uncut."""
    lengths: list[int] = []
    for start in range(0, len(examples), _FEW):
        part = examples.take(range(start, min(start + _FEW, len(examples))))
        lengths += map(
            len,
            tokenizer(
                part.text,
                part.text_pair,
                truncation=False,
                padding=False,
                return_attention_mask=False,
                verbose=False,
            )["input_ids"],
        )
    return np.array(lengths, dtype=np.int64)


def padding_id(config: Any, tokenizer: Any = None) -> int:
    """The token that fills short rows: the tokenizer's, else the config's, else 0.

    One without a row in the embedding table is passed over. The attention mask hides padding, so
    any token will do.
    """
    size = int(config.vocab_size)
    for owner in (tokenizer, config):
        found = getattr(owner, "pad_token_id", None)
        if found is not None and 0 <= found < size:
            return int(found)
    return 0


def offsets_of(lengths: Indices) -> Indices:
    """Where ragged parts of these lengths begin, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def same_units(one: EncodedExamples, other: EncodedExamples) -> Indices:
    """The examples, encoded by two tokenizers, whose units are the same parts of their texts.

    Where a text was cut, or each piece of a word is a unit, they may differ.
    """
    same = np.flatnonzero(np.diff(one.unit_offsets) == np.diff(other.unit_offsets))
    if one.spans is None or other.spans is None:
        return same
    ours, theirs = one.take(same), other.take(same)
    assert ours.spans is not None and theirs.spans is not None
    example = np.repeat(np.arange(len(same)), np.diff(ours.unit_offsets))
    return np.delete(same, np.unique(example[(ours.spans != theirs.spans).any(1)]))


def ragged_rows(offsets: Indices, indices: Indices) -> Indices:
    """The rows of some ragged parts, one part after the other."""
    lengths = np.diff(offsets)[indices]
    starts = offsets_of(lengths)[:-1]
    return np.repeat(offsets[indices] - starts, lengths) + np.arange(lengths.sum())
