"""The sample of the distillation data that candidates are trained and scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kdnas.tasks.encode import EncodedExamples, Indices
from kdnas.tasks.sampling import split_off
from kdnas.teachers.store import SignalStore, StoredSignal

MOST_HELDOUT = 1000


@dataclass(frozen=True)
class Respelled:
    """Held-out examples in the tokens of a smaller vocabulary, by the teacher's ids.

    Attributes:
        data: The examples.
        places: Shape (examples,): where each is in the proxy.
    """

    data: EncodedExamples
    places: Indices


@dataclass
class Proxy:
    """What candidates train on and are scored on, with the teacher's signal for it.

    Attributes:
        data: All its examples, in the store's order.
        make_store: Gives the teacher's signal for them; it is asked for once it is read.
        training: Which of them are trained on.
        heldout: Which of them score.
        respelled: By vocabulary, those as students with it read them, where that may differ.
    """

    data: EncodedExamples
    make_store: Callable[[], SignalStore]
    training: Indices
    heldout: Indices
    respelled: Mapping[str, Respelled] = field(default_factory=dict)

    @cached_property
    def store(self) -> SignalStore:
        """The teacher's signal for all examples."""
        return self.make_store()

    def scored(self, vocabulary: str) -> tuple[EncodedExamples, StoredSignal]:
        """The held-out examples for students with a vocabulary, and the teacher's signal."""
        found = self.respelled.get(vocabulary)
        if found is None:
            found = Respelled(self.data.take(self.heldout), self.heldout)
        return found.data, self.store.subset(found.places)


def split_heldout(data: EncodedExamples, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Training and held-out indices of a proxy; the held-out part is at most 1,000 examples.

    Raises:
        KdnasError: The proxy has fewer than two rows.
    """
    count = min(MOST_HELDOUT, max(1, round(len(data) * fraction)))
    return split_off(data, count, seed + 1)
