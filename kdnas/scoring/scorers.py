"""The table of scorers. A plug-in adds one by an entry of its own, see docs/add-a-scorer.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdnas.config import Settings, nearest
from kdnas.errors import KdnasError
from kdnas.files.curves import Record, forget
from kdnas.runtime.device import Runtime
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.proxy import Proxy
from kdnas.scoring.scorer import Budget, Score, Scorer
from kdnas.space import Candidate
from kdnas.teachers.load import Teacher

# Name -> a scorer made from a teacher, the proxy with its signal, the run's settings, device and
# precision, and what takes note of trainings.
SCORERS: dict[str, Callable[[Teacher, Proxy, Settings, Runtime, Record], Scorer]] = {
    "mini-kd": MiniKD,
}


def check_scorer(name: str) -> None:
    """Refuses a name that is not in the table.

    Raises:
        KdnasError: It is not.
    """
    if name not in SCORERS:
        known = ", ".join(sorted(SCORERS))
        raise KdnasError(f"unknown --scorer {name!r}{nearest(name, SCORERS)}; known: {known}")


def make_scorer(
    name: str,
    teacher: Teacher,
    proxy: Proxy,
    settings: Settings,
    runtime: Runtime,
    record: Record = forget,
) -> Scorer:
    """The scorer of a name.

    Raises:
        KdnasError: The name is unknown.
    """
    check_scorer(name)
    return SCORERS[name](teacher, proxy, settings, runtime, record)


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
