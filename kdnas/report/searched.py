"""What a report says of its search: the parts below `search` in report.json."""

from __future__ import annotations

from kdnas.report.part import Part, Ratio, Score, Seconds, Shape


class Spread(Part):
    """Seconds that trials took."""

    median: Seconds
    least: Seconds
    most: Seconds


class Found(Part):
    """What one search found; `seconds` are its trials', summed over all processes."""

    evaluated: int
    best_reward: Score
    hypervolume: Score
    seconds: Seconds
    trainings: Ratio = 0.0  # paid for, in whole ones; 0 in older reports


class Best(Part):
    """The best student of a search, at some speed-up or of all."""

    trial: int
    name: str
    architecture: Shape
    score: Score
    speedup: Ratio
    reward: Score


class TooSlow(Part):
    """A trial with a better score than the winner that is too slow, timed at length."""

    trial: int
    name: str
    speedup: Ratio  # at length; its trial says what it was in the search


class Budget(Part):
    """The best student of either search that is at least `speedup` times as fast as the teacher."""

    speedup: float
    search: Best | None
    random_search: Best | None


class Bargain(Part):
    """A student of the search beside the winner: how much its score differs, how fast it is."""

    trial: int
    name: str
    difference: Score  # its score less the winner's
    times: Ratio  # its speed-up over the winner's


class Finalist(Part):
    """One of the best trials of a search, distilled in full."""

    trial: int
    name: str
    score: Score  # of the search, after a short training
    selection: Score  # its main score after full KD, on training rows held out
    agreement: float | None = None  # with the teacher, on the same rows; None where none is known

    @property
    def chosen_by(self) -> float:
        """What the best finalist has most of."""
        return self.selection if self.agreement is None else self.agreement


class Search(Found):
    """How the search went, and its settings."""

    sampler: str
    objective: str
    trials: int
    winner: int | None = None  # the trial that it chose, whichever student ships; not in older ones
    distinct: int
    seen: int
    infeasible: int
    space: int
    seconds_per_trial: Spread
    budgets: list[Budget]
    random_search: Found | None
    bargains: list[Bargain] = []
    too_slow: list[TooSlow] = []
    finalists: list[Finalist] = []  # where several were distilled, the best by the search first
    finalists_tau: float | None = None  # Kendall's, between their two scores
    rungs: int
    # What no trial was scored with, of several on offer: names by `recipes` or `vocabularies`.
    not_tried: dict[str, list[str]] = {}
    speedup_wanted: float | None
    fastest: float | None = None  # speed-up of the fastest student tried
    max_params: int | None
    alpha: float
    beta: float
    cost: str
    seed: int
