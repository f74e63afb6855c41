"""Parts of some examples, drawn at random, every class in its share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples
from kdnas.tasks.types import TASK_TYPES

HELD_OUT_SHARE = 0.1


def stratified_sample(data: Examples | EncodedExamples, count: int, seed: int) -> NDArray[np.int64]:
    """`count` indices, ascending, of examples whose strata are as frequent as in the whole.

    Where some stratum is too rare, or there are none, the sample is a plain random one.
    """
    everything, total = np.arange(len(data)), len(data)
    if count >= total:
        return everything
    strata = _strata(data, min(count, total - count))
    chosen, _ = train_test_split(everything, train_size=count, random_state=seed, stratify=strata)
    return np.sort(chosen)


def _strata(data: Examples | EncodedExamples, smaller_part: int) -> NDArray[np.int64] | None:
    if data.labels is None or len(data.labels) != len(data):
        return None
    strata = TASK_TYPES[data.task_type].strata(data.labels)
    if strata is None:
        return None
    counts = np.unique(strata, return_counts=True)[1]
    return strata if counts.min() >= 2 and len(counts) <= smaller_part else None


def hold_out(train: Examples, seed: int = 0) -> tuple[Examples, Examples]:
    """Nine tenths to train on and one tenth to validate on.

    Raises:
        KdnasError: There are fewer than two examples.
    """
    if len(train) < 2:
        raise KdnasError("cannot split one training example; give a validation file")
    chosen = stratified_sample(train, max(1, round(HELD_OUT_SHARE * len(train))), seed)
    return train.take(np.setdiff1d(np.arange(len(train)), chosen)), train.take(chosen)


def draw_proxy(
    data: EncodedExamples, fraction: float, batch_size: int, seed: int
) -> NDArray[np.int64]:
    """A stratified sample of two batches or more, in the data's order.

    Raises:
        KdnasError: It would hold fewer.
    """
    count = round(len(data) * fraction)
    if count < 2 * batch_size:
        raise KdnasError(
            f"the proxy would hold {count} of {len(data)} examples, fewer than two batches of "
            f"{batch_size}; give {_remedy(len(data), fraction, batch_size)}"
        )
    return stratified_sample(data, count, seed)


def _remedy(examples: int, fraction: float, batch_size: int) -> str:
    if examples < 2:
        return "more examples"
    if examples >= 2 * batch_size:
        enough = math.ceil(200 * batch_size / examples) / 100
        ways = [f"--proxy-fraction {enough:g}"]
    else:
        ways = ["more examples"]
    smaller = round(examples * fraction) // 2
    if smaller:
        ways.append(f"--batch-size {smaller}")
    elif examples < 2 * batch_size:
        ways.append(f"--proxy-fraction 1 with --batch-size {examples // 2}")
    return " or ".join(ways)
