"""Augmentations: functions that make new rows; none needs a model beside the teacher.

Masked words and spans after Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into
Simple Neural Networks; replaced words after Jiao et al. 2020, TinyBERT, with the teacher's own word
embeddings in place of GloVe and a masked language model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from kdnas.recipes.transfer.sources import Row, Sources

MASKED = 0.15
REPLACED = 0.25
SHORTEST_SPAN = 0.4

T = TypeVar("T")
Random = np.random.Generator
Augmentation = Callable[[Sources, Random], Row | None]


def swap(sources: Sources, rng: Random) -> Row | None:
    """A pair in the other order."""
    first, second = _pick(sources.rows, rng)
    return None if second is None else (second, first)


def recombine(sources: Sources, rng: Random) -> Row | None:
    """The first text of one row with the second of another."""
    return _pick(sources.rows, rng)[0], _pick(sources.rows, rng)[1]


def neighbours(sources: Sources, rng: Random) -> Row | None:
    """A text with one of those of other rows that are most like it."""
    return _beside_another(sources.near_texts, rng)


def mask(sources: Sources, rng: Random) -> Row | None:
    """A row with some words replaced by the mask token."""
    return _changed(
        _pick(sources.rows, rng), MASKED, rng, lambda word: sources.tokenizer.mask_token
    )


def replace(sources: Sources, rng: Random) -> Row | None:
    """A row with some words replaced by others that are near in the teacher's embeddings."""

    def another(word: str) -> str | None:
        near = sources.near_words.get(word)
        return _pick(near, rng) if near else None

    return _changed(_pick(sources.rows, rng), REPLACED, rng, another)


def span(sources: Sources, rng: Random) -> Row | None:
    """A row of which one text is cut to some consecutive words."""
    row = _pick(sources.rows, rng)
    cut = int(rng.integers(2)) if row[1] is not None else 0
    words = (row[cut] or "").split()
    length = int(len(words) * rng.uniform(SHORTEST_SPAN, 1))
    if not 0 < length < len(words):
        return None
    start = int(rng.integers(len(words) - length + 1))
    part = " ".join(words[start : start + length])
    return (part, row[1]) if cut == 0 else (row[0], part)


def corpus(sources: Sources, rng: Random) -> Row | None:
    """A text of the corpus; for pairs, with one of those that are most like it."""
    if not sources.pairs:
        return _pick(sources.corpus, rng), None
    return _beside_another(sources.near_corpus, rng)


AUGMENTATIONS: dict[str, Augmentation] = {
    "swap": swap,
    "recombine": recombine,
    "neighbours": neighbours,
    "mask": mask,
    "replace": replace,
    "span": span,
    "corpus": corpus,
}


def obstacle(method: str, sources: Sources) -> str | None:
    """Why an augmentation cannot be used; None where it can."""
    if method in ("swap", "recombine", "neighbours") and not sources.pairs:
        return "the task's rows have one text each"
    if method == "mask" and sources.tokenizer.mask_token is None:
        return "the teacher's tokenizer has no mask token"
    if method == "corpus" and len(sources.corpus) < 2:
        return "there is no --corpus, or it has a single text"
    return None


def _changed(
    row: Row, share: float, rng: Random, another: Callable[[str], str | None]
) -> Row | None:
    def change(text: str) -> str:
        words = text.split()
        chosen = rng.random(len(words)) < share
        return " ".join(
            (another(word) or word) if hit else word
            for word, hit in zip(words, chosen, strict=True)
        )

    return change(row[0]), None if row[1] is None else change(row[1])


def _beside_another(found: list[tuple[str, list[str]]], rng: Random) -> Row | None:
    if not found:
        return None
    text, others = _pick(found, rng)
    return text, _pick(others, rng)


def _pick(items: list[T], rng: Random) -> T:
    return items[int(rng.integers(len(items)))]
