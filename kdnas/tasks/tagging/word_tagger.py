"""A simple tagger of words: what spelling and neighbours alone tell, without a transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

NAME = "word features, linear"
WORDS = 100_000  # of the training words at most
FEATURES = 2**18
EPOCHS = 5

Rows = Sequence[Sequence[str]]


def tagger(
    words: Rows, tags: Sequence[Sequence[int]], seed: int
) -> tuple[str, Callable[[Rows], list[list[int]]]] | None:
    """A linear model (a log loss by stochastic gradients) on each word and the two at its sides.

    Args:
        words: Of the training texts.
        tags: Their ids.
        seed: Draws the order of the words, and the texts where there are too many words.

    Returns:
        Its name, and its tag ids for the words of texts; None where all words have one tag.
    """
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    order = np.random.default_rng(seed).permutation(len(words))
    sizes = np.cumsum([len(words[i]) for i in order])
    chosen = np.sort(order[: max(1, int((sizes <= WORDS).sum()))])
    known = np.array([tag for i in chosen for tag in tags[i]], np.int64)
    if len(set(known.tolist())) < 2:
        return None
    hasher = FeatureHasher(FEATURES, input_type="string", alternate_sign=False)
    model = SGDClassifier(
        loss="log_loss", alpha=3e-6, max_iter=EPOCHS, tol=None, average=True, random_state=seed
    )
    model.fit(hasher.transform(chain.from_iterable(_features(words[i]) for i in chosen)), known)

    def tag(rows: Rows) -> list[list[int]]:
        each = list(chain.from_iterable(map(_features, rows)))
        said: Any = iter(model.predict(hasher.transform(each)).tolist() if each else [])
        return [[next(said) for _ in row] for row in rows]

    return NAME, tag


def _features(words: Sequence[str]) -> list[list[str]]:
    """The features of each word of a text."""
    plain = [word.casefold() for word in words]
    shapes = [_shape(word) for word in words]
    around = range(-2, 3)

    def at(parts: Sequence[str], i: int) -> str:
        return parts[i] if 0 <= i < len(parts) else ""

    return [
        [
            *(f"{step} {at(plain, i + step)}" for step in around),
            *(f"shape {step} {at(shapes, i + step)}" for step in around),
            *(f"both {a} {at(plain, i + a)} {at(plain, i + a + 1)}" for a in (-1, 0)),
            *(f"suffix {n} {plain[i][-n:]}" for n in (2, 3, 4)),
            *(f"prefix {n} {plain[i][:n]}" for n in (2, 3)),
            f"shapes {at(shapes, i - 1)} {shapes[i]} {at(shapes, i + 1)}",
        ]
        for i in range(len(words))
    ]


def _shape(word: str) -> str:
    """Runs of capital and small letters, digits and the rest: `Xx` for Berlin, `X.X.` for U.S."""
    kinds = (
        "X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word
    )
    shape = ""
    for kind in kinds:
        shape += kind if not shape.endswith(kind) else ""
    return shape[:6]
