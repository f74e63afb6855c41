"""The table of scorers. A plug-in adds one by an entry of its own, see docs/add-a-scorer.md."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel

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
# precision, and what takes note of trainings; and from what else `make_scorer` has, where it has a
# parameter of that name.
MakeScorer = Callable[..., Scorer]
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


def make_scorer(
    name: str,
    teacher: Teacher,
    proxy: Proxy,
    settings: Settings,
    runtime: Runtime,
    record: Record,
    *,
    untrained: Callable[[Candidate], PreTrainedModel],
) -> Scorer:
    """The scorer of a name.

    `untrained` makes a student of a candidate's shape and vocabulary with random weights: what
    pruning leaves, a candidate itself does not tell.

    Raises:
        KdnasError: The name is unknown.
    """
    make = find_scorer(name)
    more = {"untrained": untrained}
    taken = inspect.signature(make).parameters  # plug-ins that are older have fewer
    own = {word: value for word, value in more.items() if word in taken}
    return make(teacher, proxy, settings, runtime, record, **own)


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
