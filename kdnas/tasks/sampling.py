"""Drawing a part of some examples at random, every label in its share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

STRATA = 10


def stratified_sample(
    labels: NDArray[Any] | None, total: int, count: int, seed: int
) -> NDArray[np.int64]:
    """`count` of `total` indices, ascending, in which labels are as frequent as in the whole.

    Real-valued labels are stratified by their deciles. Where some label is too rare to be
    stratified, or there is none, the sample is a plain random one.
    """
    everything = np.arange(total)
    if count >= total:
        return everything
    strata = _strata(labels, min(count, total - count))
    chosen, _ = train_test_split(everything, train_size=count, random_state=seed, stratify=strata)
    return np.sort(chosen)


def _strata(labels: NDArray[Any] | None, smaller_part: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    if labels.dtype.kind == "f":
        edges = np.unique(np.quantile(labels, np.linspace(0, 1, STRATA + 1)[1:-1]))
        labels = np.digitize(labels, edges)
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return labels if counts.min() >= 2 and len(counts) <= smaller_part else None
