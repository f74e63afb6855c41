"""The sample of the distillation data that candidates are trained and scored on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.sampling import stratified_sample
from kdnas.teachers.store import SignalStore

MOST_HELDOUT = 1000

Indices = NDArray[np.int64]


@dataclass
class Proxy:
    """What mini-KD trains on and is scored on, with the teacher's signal for it.

    Attributes:
        data: All its examples, in the store's order.
        store: The teacher's signal for them.
        training: Which of them are trained on.
        heldout: Which of them score.
    """

    data: EncodedExamples
    store: SignalStore
    training: Indices
    heldout: Indices


def draw_proxy(data: EncodedExamples, fraction: float, batch_size: int, seed: int) -> Indices:
    """A stratified sample, in the data's order.

    Raises:
        KdnasError: It would hold fewer than two batches.
    """
    count = round(len(data) * fraction)
    if count < 2 * batch_size:
        raise KdnasError(
            f"the proxy would hold {count} of {len(data)} examples, fewer than two batches of "
            f"{batch_size}; {_remedy(len(data), fraction, batch_size)} would be right"
        )
    return stratified_sample(data.labels, len(data), count, seed)


def split_heldout(data: EncodedExamples, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Training and held-out indices of a proxy; the held-out part is at most 1,000 examples."""
    count = min(MOST_HELDOUT, max(1, round(len(data) * fraction)))
    heldout = stratified_sample(data.labels, len(data), count, seed + 1)
    return np.setdiff1d(np.arange(len(data)), heldout), heldout


def _remedy(examples: int, fraction: float, batch_size: int) -> str:
    """What makes two batches of some examples."""
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
