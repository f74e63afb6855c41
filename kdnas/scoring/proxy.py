"""The sample of the distillation data that candidates are trained and scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdnas.tasks.encode import EncodedExamples, Indices
from kdnas.tasks.sampling import stratified_sample
from kdnas.teachers.store import SignalStore

MOST_HELDOUT = 1000


@dataclass
class Proxy:
    """What candidates train on and are scored on, with the teacher's signal for it.

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


def split_heldout(data: EncodedExamples, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Training and held-out indices of a proxy; the held-out part is at most 1,000 examples."""
    count = min(MOST_HELDOUT, max(1, round(len(data) * fraction)))
    heldout = stratified_sample(data, count, seed + 1)
    return np.setdiff1d(np.arange(len(data)), heldout), heldout
