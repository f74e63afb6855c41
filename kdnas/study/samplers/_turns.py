"""Which turn of a search a trial is, whatever was interrupted before it."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState

from kdnas.study.samplers.names import GIVEN_BACK, RETRY_OF


class Turns:
    """Trials counted without those that came to nothing: tried again as another, or given back.

    What is drawn by turns is drawn alike in a search that was interrupted and in one that was not.

    Args:
        trials: All trials of a study.
    """

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        known = list(trials)
        again = {trial.user_attrs.get(RETRY_OF) for trial in known}
        self.lost = {
            trial.number
            for trial in known
            if trial.state == TrialState.FAIL
            and (trial.number in again or GIVEN_BACK in trial.user_attrs)
        }

    def of(self, number: int) -> int:
        """The turn of a trial by its number, from 0."""
        return number - sum(lost < number for lost in self.lost)
