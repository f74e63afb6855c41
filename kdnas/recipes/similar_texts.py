"""Texts that are most like another, by TF-IDF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from kdnas.recipes.words import TOKEN_PATTERN

NEAREST = 5
CHUNK = 256
BLOCK = 4096
# Words in more than a tenth of many texts say little and cost most of the time.
MANY_TEXTS = 1000
FREQUENT = 0.1
Pair = tuple[str, str]


def near(asked: Sequence[str], pool: Sequence[str]) -> dict[str, list[str]]:
    """For each text the most similar others of a pool, by TF-IDF."""
    if len(pool) < 2 or not asked:
        return {}
    vectoriser = _vectoriser(FREQUENT if len(pool) > MANY_TEXTS else 1.0)
    try:
        vectors = vectoriser.fit_transform(pool)
    except ValueError:  # every word is a frequent one
        vectoriser = _vectoriser(1.0)
        vectors = vectoriser.fit_transform(pool)
    queries = vectoriser.transform(asked)
    found = {}
    for start in range(0, len(asked), CHUNK):
        likeness = (queries[start : start + CHUNK] @ vectors.T).toarray()
        for text, row in zip(asked[start:], likeness, strict=False):
            best = best_columns(row[None], NEAREST + 1)[0]
            found[text] = [pool[i] for i in best if row[i] > 0 and pool[i] != text]
    return found


def _vectoriser(most: float) -> TfidfVectorizer:
    return TfidfVectorizer(
        sublinear_tf=True, token_pattern=TOKEN_PATTERN, max_df=most, dtype=np.float32
    )


def best_columns(likeness: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the largest values of each row, the largest first."""
    count = min(count, likeness.shape[1])
    best = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(likeness, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def similar_pairs(texts: list[str], share: float, seed: int = 0) -> tuple[list[str], list[Pair]]:
    """Splits texts, all different, into single ones and pairs of similar ones.

    A general student that reads pairs learns to compare two texts. A share of the texts become the
    first of a pair; similar ones are looked for among `BLOCK` at a time.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))
    alone: list[str] = []
    pairs: list[Pair] = []
    for start in range(0, len(texts), BLOCK):
        block = [texts[i] for i in order[start : start + BLOCK]]
        found = near(block[: round(share * len(block))], block)
        for text in block:
            others = found.get(text)
            if others:
                pairs.append((text, others[int(rng.integers(len(others)))]))
            else:
                alone.append(text)
    return alone, pairs
