"""Entity scores as seqeval's, from the counts of each text.

Counts have shape (rows, 3): entities that are right, predicted, true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.tagging.entities import Tags
from kdnas.tasks.types.metric import Array, Metric, ratio


def _entity_counts(
    predicted: Array, truth: Array, labels: Sequence[str], *, strict: bool = False
) -> NDArray[np.int64]:
    """Of each row: entities that both sides have, that are predicted, and that are true."""
    tags = Tags(labels)
    both = ([set(tags.entities(row, strict=strict)) for row in side] for side in (predicted, truth))
    counts = [(len(p & t), len(p), len(t)) for p, t in zip(*both, strict=True)]
    return np.array(counts, np.int64).reshape(-1, 3)


def _strict_counts(predicted: Array, truth: Array, labels: Sequence[str]) -> NDArray[np.int64]:
    return _entity_counts(predicted, truth, labels, strict=True)


def word_counts(predicted: Array, truth: Array, labels: Sequence[str]) -> NDArray[np.int64]:
    """Of each row: words with the right tag, and all words."""
    outside = Tags(labels).outside

    def right(said: Sequence[int], true: Sequence[int]) -> int:
        return sum((outside if a < 0 else a) == b for a, b in zip(said, true, strict=True))

    counts = [(right(p, t), len(t)) for p, t in zip(predicted, truth, strict=True)]
    return np.array(counts, np.int64).reshape(-1, 2)


def f1(counts: Array) -> Array:
    return ratio(2.0 * counts[..., 0], counts[..., 1] + counts[..., 2])


def precision(counts: Array) -> Array:
    return ratio(1.0 * counts[..., 0], counts[..., 1])


def recall(counts: Array) -> Array:
    return ratio(1.0 * counts[..., 0], counts[..., 2])


def entity_metrics() -> Iterator[tuple[str, Metric]]:
    """By default as the script of CoNLL-2000 counts, and strict: as the scheme says."""
    for name, compute, told in (
        ("f1", f1, "F1"),
        ("precision", precision, "Precision"),
        ("recall", recall, "Recall"),
    ):
        for mode, counts in (("", _entity_counts), ("strict", _strict_counts)):
            key, hub_name = (f"{name}_{mode}", f"{told} ({mode})") if mode else (name, told)
            yield key, Metric(compute, name, hub_name, counts=counts, of_labels=True)


def each_type(tags: Tags, predicted: Array, truth: Array) -> list[dict[str, Any]]:
    """Precision, recall, F1 and the number of entities of each type."""
    each = {kind: np.zeros(3, np.int64) for kind in tags.types}
    for said, true in zip(predicted, truth, strict=True):
        ours, theirs = set(tags.entities(said)), set(tags.entities(true))
        for at, side in enumerate((ours & theirs, ours, theirs)):
            for one in side:
                each[one.type][at] += 1
    return [
        {
            "name": kind,
            "precision": float(precision(counts)),
            "recall": float(recall(counts)),
            "f1": float(f1(counts)),
            "support": int(counts[2]),
        }
        for kind, counts in each.items()
    ]
