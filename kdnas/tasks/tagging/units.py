"""The pieces of words that a tagger answers for, and the tags that they have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.encode import TokenPlaces
from kdnas.tasks.examples import Spans
from kdnas.tasks.tagging.answers import Sentence
from kdnas.tasks.tagging.words import piece_words


class UnitPieces(NamedTuple):
    """The pieces of a text that are units, shape (units,) each.

    Attributes:
        positions: Their places among its tokens.
        words: The word that each is of.
        first: Whether it is the word's first one.
    """

    positions: NDArray[np.int32]
    words: NDArray[np.int64]
    first: NDArray[np.bool_]

    @property
    def spans(self) -> NDArray[np.int32]:
        """The word of each unit and the one behind it, shape (units, 2)."""
        return np.stack([self.words, self.words + 1], -1).astype(np.int32)


def unit_pieces(tokens: TokenPlaces, words: Spans, *, further: bool) -> UnitPieces:
    """The first piece of each word of a text; those that come after it, too, where `further`.

    Args:
        tokens: Of the text.
        words: Where the words are, shape (words, 2).
        further: Whether pieces behind a word's first one are units.
    """
    word = piece_words(tokens, words)
    highest = np.maximum.accumulate(np.concatenate([[-1], word]))[:-1]
    first = word > highest
    at = np.flatnonzero(word >= 0 if further else first)
    return UnitPieces(at.astype(np.int32), word[at], first[at])


def tags_of_pieces(
    pieces: UnitPieces, truth: Sequence[int] | None, inside: NDArray[np.int64], no_label: float
) -> NDArray[np.int64]:
    """The tag id of each unit, shape (units,).

    Args:
        pieces: Of a text.
        truth: The tag id of each of its words; None: it has no label.
        inside: By tag id, that of further pieces (`Tags.inside`).
        no_label: What stands for none.
    """
    if truth is None:
        return np.full(len(pieces.words), no_label, np.int64)
    ids: NDArray[np.int64] = np.array(truth, np.int64)[pieces.words]
    further = ~pieces.first
    ids[further] = inside[ids[further]]
    return ids


def sentences(
    texts: Iterable[str], words: Iterable[Spans], truths: Iterable[Any], outside: int
) -> NDArray[Any]:
    """What decoding and scoring read of some texts, shape (texts,), of `Sentence`."""
    rows = [
        Sentence(text, tuple(ends.reshape(-1).tolist()), truth, outside)
        for text, ends, truth in zip(texts, words, truths, strict=True)
    ]
    found = np.empty(len(rows), dtype=object)
    found[:] = rows
    return found
