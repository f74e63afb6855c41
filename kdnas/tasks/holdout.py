"""Holding out a part of the training data, every class in its share."""

from __future__ import annotations

import numpy as np

from kdnas.errors import KdnasError
from kdnas.tasks.examples import Examples
from kdnas.tasks.sampling import stratified_sample

HELD_OUT_SHARE = 0.1


def hold_out(train: Examples, seed: int = 0) -> tuple[Examples, Examples]:
    """Nine tenths to train on and one tenth to validate on.

    Raises:
        KdnasError: There are fewer than two examples.
    """
    if len(train) < 2:
        raise KdnasError("one training example cannot be split; give a validation file")
    size = max(1, round(HELD_OUT_SHARE * len(train)))
    chosen = stratified_sample(train.labels, len(train), size, seed)
    return train.take(np.setdiff1d(np.arange(len(train)), chosen)), train.take(chosen)
