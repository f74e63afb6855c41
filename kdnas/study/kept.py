"""What candidates learnt, kept in the run folder of the machine that trained them."""

from __future__ import annotations

import shutil
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.space import Architecture
from kdnas.study.budget import Plan
from kdnas.study.rungs import CONTINUES, ranked, scored_on
from kdnas.study.trials import evaluated
from kdnas.study.winner import kept_trials


class Kept:
    """The students of a search that may yet win, and trainings that may go on.

    Args:
        study: Of the search.
        folder: Of the run.
        plan: Of the search.
    """

    def __init__(self, study: Study, folder: Path, plan: Plan) -> None:
        self.study = study
        self.folder = folder
        self.plan = plan

    def student(self, number: int) -> Path:
        """Where a trial's student lies."""
        return self.folder / "trials" / str(number)

    def checkpoint(self, architecture: Architecture) -> Path | None:
        """Where a candidate's training waits to go on."""
        if self.plan.ladder.rungs == 1:
            return None
        return self.folder / "rungs" / f"{architecture.label.replace(' ', '-')}.pt"

    def drop_unneeded(self, rung: int) -> None:
        """Deletes what candidates learnt that can be no winner any more, or hardly."""
        if rung < self.plan.ladder.rungs - 1:
            seen = ranked(scored_on(self.study, self.plan.ladder, rung), self.study.directions)
            for trial in seen[(len(seen) + 1) // 2 + 1 :]:
                checkpoint = self.checkpoint(Architecture.from_params(trial.params))
                if checkpoint and not self._goes_on(trial):
                    checkpoint.unlink(missing_ok=True)
            return
        if self.plan.title or not evaluated(self.study):
            return
        kept = {str(number) for number in kept_trials(self.study)}
        known = {str(t.number) for t in evaluated(self.study)}
        for folder in self.folder.glob("trials/*"):  # of this machine
            if folder.name in known - kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _goes_on(self, trial: FrozenTrial) -> bool:
        others = self.study.get_trials(deepcopy=False)
        return any(t.user_attrs.get(CONTINUES) == trial.number for t in others)
