"""The floor of texts from texts: what needs no understanding at all.

Two rules, of which the better one by chrF on held-out training rows counts: the target of the
training source that is most alike by TF-IDF, and the first words of the source itself, as many as
targets have by the median (the lead baseline of summarisation; of translation, a copy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kdnas.tasks.examples import Examples

NEAREST, LEAD = "target of the nearest source", "first words of the source"
ROWS = 50_000  # of the training rows at most
TRIED = 200  # rows that choose the rule
_BATCH = 256

Writer = Callable[[Sequence[str]], list[str]]


def best_rule(
    train: Examples, targets: Sequence[str], score: Callable[[Any, Any], float], seed: int
) -> tuple[str, Writer]:
    """The better rule's name, and its texts for sources; it knows all training rows given.

    Args:
        train: Training rows.
        targets: Their first references.
        score: Of texts against tuples of references; the higher one is better.
        seed: Draws rows, where there are many.
    """
    order = np.random.default_rng(seed).permutation(len(train))[:ROWS]
    sources, written = [train.text[i] for i in order], [targets[i] for i in order]
    apart = min(TRIED, len(order) // 2)
    if not apart:
        return LEAD, _lead(written)
    rules = {
        NEAREST: _nearest(sources[apart:], written[apart:]),
        LEAD: _lead(written[apart:]),
    }
    truth = np.empty(apart, dtype=object)
    truth[:] = [(text,) for text in written[:apart]]
    said = {name: _objects(rule(sources[:apart])) for name, rule in rules.items()}
    best = max(said, key=lambda name: score(said[name], truth))
    return best, _nearest(sources, written) if best == NEAREST else _lead(written)


def _nearest(sources: Sequence[str], targets: Sequence[str]) -> Writer:
    """The target of the most similar source; of equally similar ones the first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]")
    try:
        known = words.fit_transform(sources).T.tocsr()
    except ValueError:  # sources without a word
        return lambda asked: [targets[0]] * len(asked)

    def write(asked: Sequence[str]) -> list[str]:
        found: list[str] = []
        for begin in range(0, len(asked), _BATCH):
            alike = words.transform(asked[begin : begin + _BATCH]) @ known
            found += (targets[i] for i in np.asarray(alike.argmax(axis=1)).ravel())
        return found

    return write


def _lead(targets: Sequence[str]) -> Writer:
    """The first words of a source, as many as targets have by the median."""
    count = max(1, int(np.median([len(text.split()) for text in targets])))
    return lambda asked: [" ".join(text.split()[:count]) for text in asked]


def _objects(texts: Sequence[str]) -> np.ndarray:
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found
