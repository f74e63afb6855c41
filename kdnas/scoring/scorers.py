"""The table of scorers. A plug-in adds one by an entry of its own, see docs/add-a-scorer.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdnas.config import Settings, nearest
from kdnas.errors import KdnasError
from kdnas.files.curves import Record
from kdnas.runtime.device import Runtime
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.proxy import Proxy
from kdnas.scoring.scorer import Budget, Score, Scorer
from kdnas.space import Candidate
from kdnas.teachers.load import Teacher

# What makes a scorer from a teacher, the proxy with its signal, the run's settings, device and
# precision, and what takes note of trainings.
MakeScorer = Callable[[Teacher, Proxy, Settings, Runtime, Record], Scorer]
SCORERS: dict[str, MakeScorer] = {"mini-kd": MiniKD}


def find_scorer(name: str) -> MakeScorer:
    """What makes the scorer of a name.

    Raises:
        KdnasError: The name is unknown.
    """
    if name not in SCORERS:
        known = ", ".join(sorted(SCORERS))
        raise KdnasError(f"unknown --scorer {name!r}{nearest(name, SCORERS)}; known: {known}")
    return SCORERS[name]


@dataclass(frozen=True)
class TableScorer:
    """Looks scores up instead of training: for tests of the search and replays.

    Attributes:
        scores: Value by candidate key and by share of a full training.
    """

    scores: dict[str, dict[float, float]]

    def score(self, candidate: Candidate, budget: Budget) -> Score:
        """The value at the share that is nearest to the budget's."""
        known = self.scores[candidate.key]
        return Score(known[min(known, key=lambda share: abs(share - budget.share))])
