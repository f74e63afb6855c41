"""Runs that many processes work on, and what must be true of them afterwards."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial, TrialState
from support.processes import Child

from kdnas.runs.run_folder import Run
from kdnas.study.attributes import WORKER
from kdnas.study.storage import storage_url
from kdnas.study.study import load_run_study

MakeRun = Callable[..., Run]


def study_of(run: Run) -> optuna.Study:
    url = storage_url(run.settings.storage, run.folder)
    return load_run_study(url, run.settings.study, run.folder)


def working(run: Run, child: Child) -> Callable[[], bool]:
    """Whether a process trains a candidate."""
    found: list[optuna.Study] = []

    def ready() -> bool:
        try:
            if not found:
                found.append(study_of(run))
            trials = found[0].get_trials(states=(TrialState.RUNNING,))
        except Exception:
            return False
        return any(
            f":{child.pid}:" in t.user_attrs.get(WORKER, "") and "begun" in t.user_attrs
            for t in trials
        )

    return ready


def check_complete(run: Run, total: int) -> list[FrozenTrial]:
    """The total to the trial, no student twice, nothing open."""
    trials = study_of(run).trials
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(complete) == total
    assert len({tuple(t.params.values()) for t in complete}) == total
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    return trials
