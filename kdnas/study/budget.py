"""What a search may spend, and what it need not pay for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.space import Architecture
from kdnas.study.rungs import Ladder


@dataclass(frozen=True)
class Plan:
    """How one study of a run is worked on.

    Attributes:
        trials: Whole trainings that may be paid for.
        ladder: The rungs between which candidates drop out.
        known: Results of the run's other study, which are taken over unpaid.
        title: Names the search where it isn't the run's own; nothing of such a search is kept.
    """

    trials: int
    ladder: Ladder
    known: Mapping[Architecture, FrozenTrial] = field(default_factory=dict)
    title: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """The search of a run."""
        return cls(settings.trials, Ladder(settings.rungs, settings.reduction))

    @property
    def candidates(self) -> int:
        """Students that the budget is expected to look at."""
        return self.ladder.candidates(self.trials)

    @property
    def units(self) -> int:
        """The budget in units of the first rung."""
        return self.trials * self.ladder.top
