"""Augmentations: new rows from a task's texts; none needs a model that a run does not have.

Masked words and spans after Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into
Simple Neural Networks; replaced words after Jiao et al. 2020, TinyBERT, with the teacher's own word
embeddings in place of GloVe, and its checkpoint's masked-LM head where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kdnas.recipes.refilling import MASKED, refilled_rows
from kdnas.recipes.sources import Random, Row, Sources, pick, rewritten

REPLACED = 0.25
SHORTEST_SPAN = 0.4
# Rows whose masked words are predicted at a time.
REFILLED = 64
Augmentation = Callable[[Sources, Random], Row | None]


def swap(sources: Sources, rng: Random) -> Row | None:
    """A pair in the other order."""
    first, second = pick(sources.rows, rng)
    return None if second is None else (second, first)


def recombine(sources: Sources, rng: Random) -> Row | None:
    """The first text of one row with the second of another."""
    return pick(sources.rows, rng)[0], pick(sources.rows, rng)[1]


def neighbours(sources: Sources, rng: Random) -> Row | None:
    """A text with one of those of other rows that are most like it."""
    return _beside_another(sources.near_texts, rng)


def contexts(sources: Sources, rng: Random) -> Row | None:
    """The first text of a row with one of the second texts that are most like its own."""
    return _beside_another(sources.near_seconds, rng)


def mask(sources: Sources, rng: Random) -> Row | None:
    """A row with some words replaced by the mask token; none where no word would remain."""
    mask_token = sources.tokenizer.mask_token
    new = _changed(sources, pick(sources.rows, rng), MASKED, rng, lambda word: mask_token)
    bare = [not text.replace(mask_token, "").strip() for text in new if text is not None]
    return None if any(bare) else new


def replace(sources: Sources, rng: Random) -> Row | None:
    """A row with some words replaced by others that are near in the teacher's embeddings."""

    def another(word: str) -> str | None:
        near = sources.near_words.get(word)
        return pick(near, rng) if near else None

    return _changed(sources, pick(sources.rows, rng), REPLACED, rng, another)


def refill(sources: Sources, rng: Random) -> Row | None:
    """A row with some words masked and predicted by the masked LM of the teacher's checkpoint."""
    if not sources.refilled:
        rows = [pick(sources.rows, rng) for _ in range(REFILLED)]
        sources.refilled = refilled_rows(sources, rows, rng)
    return sources.refilled.pop() if sources.refilled else None


def span(sources: Sources, rng: Random) -> Row | None:
    """A row of which one text is cut to some consecutive words."""
    row = pick(sources.rows, rng)
    side = int(rng.integers(2)) if row[1] is not None else 0
    text = row[side] or ""
    words = sources.spans(text)
    length = int(len(words) * rng.uniform(SHORTEST_SPAN, 1))
    if not 0 < length < len(words):
        return None
    start = int(rng.integers(len(words) - length + 1))
    part = text[words[start][0] : words[start + length - 1][1]]
    return (part, row[1]) if side == 0 else (row[0], part)


def corpus(sources: Sources, rng: Random) -> Row | None:
    """A text of the corpus; for pairs, with one of those that are most like it."""
    if not sources.pairs:
        return pick(sources.corpus, rng), None
    return _beside_another(sources.near_corpus, rng)


AUGMENTATIONS: dict[str, Augmentation] = {
    make.__name__: make
    for make in (swap, recombine, neighbours, contexts, mask, replace, refill, span, corpus)
}


def obstacle(method: str, sources: Sources) -> str | None:
    """Why an augmentation cannot be used; None where it can."""
    kinds = "the two texts of a row are of different kinds, such as a question and its context"
    closed = (
        (
            method in ("swap", "recombine", "neighbours", "contexts") and not sources.pairs,
            "the task's rows have one text each",
        ),
        (method in ("swap", "neighbours", "corpus") and not sources.alike, kinds),
        (
            method == "contexts" and sources.alike,
            "both texts of a row are of one kind (neighbours pairs those)",
        ),
        (
            method == "mask" and sources.tokenizer.mask_token is None,
            "the teacher's tokenizer has no mask token",
        ),
        (
            method == "refill" and sources.masked_lm is None,
            "the teacher's checkpoint has no masked-LM head",
        ),
        (
            method == "corpus" and len(sources.corpus) < 2,
            "there is no --corpus, or it has a single text",
        ),
    )
    return next((why for is_closed, why in closed if is_closed), None)


def _changed(
    sources: Sources, row: Row, share: float, rng: Random, another: Callable[[str], str | None]
) -> Row:
    first, second = row
    change = partial(rewritten, sources, share=share, rng=rng, another=another)
    return change(first), None if second is None else change(second)


def _beside_another(found: list[tuple[str, list[str]]], rng: Random) -> Row | None:
    if not found:
        return None
    text, others = pick(found, rng)
    return text, pick(others, rng)
