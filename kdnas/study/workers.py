"""Who works on a trial, whether it still lives, and what becomes of the trial if not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.runtime.console import say
from kdnas.runtime.process import is_here, lives, process_name
from kdnas.space.families import FIELDS
from kdnas.study.rungs import CONTINUES, UNITS
from kdnas.study.samplers.names import GIVEN_UP, RETRY_OF

# Attribute of a trial: its worker.
WORKER = "worker"
# How many workers died over this student, and how many may before it is left alone.
DEATHS = "deaths"
MOST_DEATHS = 5
# What a worker counts up while it lives. Optuna's own heartbeat is a time by the database's clock:
# it ages while the database is gone, and when that clock jumps. Not every storage has it, either.
BEAT = "kdnas:beat"
# A trial without a worker's name was asked for this moment, or its worker was killed meanwhile.
UNSIGNED_SECONDS = 20.0


def worker_name() -> str:
    """This process, so that others can tell whether it still lives."""
    return process_name()


@contextmanager
def alive(trial: Trial, timeout: float) -> Iterator[None]:
    """Signs a trial and gives a sign of life for as long as this process works on it.

    Args:
        trial: Just asked for.
        timeout: Seconds without a sign after which others take this process for dead.
    """
    stopped = threading.Event()
    _beat(trial, 0)  # before the signature: a signed trial has had one
    work = (trial, timeout / 4, stopped, os.getpid())
    thread = threading.Thread(target=_keep_beating, args=work, daemon=True)
    thread.start()
    try:
        trial.set_user_attr(WORKER, worker_name())
        yield
    finally:
        stopped.set()
        thread.join(timeout=5)


class Lookout:
    """Finds trials whose worker died, and queues them again.

    Args:
        study: Whose trials.
        timeout: Seconds without a sign of life after which a worker on another machine is dead.
    """

    def __init__(self, study: Study, timeout: float) -> None:
        self._study = study
        self._timeout = timeout
        # By trial: its sign of life, when it was looked at last, and for how long it stood still.
        self._seen: dict[int, tuple[object, float, float]] = {}

    def release_dead(self) -> int:
        """Fails dead trials, queues their architectures again, and returns how many."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if self._died(t)]
        return sum(_release(self._study, t, died=True) for t in dead)

    def give_up(self, number: int) -> None:
        """Fails a trial of this process, unless it was told after all, and queues it again."""
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.RUNNING:
            _release(self._study, trial, died=False)

    def _died(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if worker is None:
            return self._silent(trial, UNSIGNED_SECONDS)
        return not lives(worker) if is_here(worker) else self._silent(trial, self._timeout)

    def _silent(self, trial: FrozenTrial, seconds: float) -> bool:
        """Whether a trial's sign of life stood still, by this process's own clock.

        Between two looks half the time counts at most: the storage may have been gone meanwhile, so
        that nobody could give a sign.
        """
        sign, now = trial.system_attrs.get(BEAT), time.monotonic()
        before, last, still = self._seen.get(trial.number, (object(), now, 0.0))
        still = still + min(now - last, seconds / 2) if before == sign else 0.0
        self._seen[trial.number] = (sign, now, still)
        return still >= seconds


def retry(study: Study, number: int, deaths: int | None = None) -> None:
    """Queues a failed trial's architecture again, for what it was to cost.

    Args:
        study: Of the trial.
        number: The trial's.
        deaths: How many workers died over it; None: as many as before.
    """
    trial = study.get_trials(deepcopy=False)[number]
    if set(FIELDS) <= trial.params.keys():
        names = (CONTINUES, UNITS, DEATHS)
        kept = {k: trial.user_attrs[k] for k in names if k in trial.user_attrs}
        if deaths is not None:
            kept[DEATHS] = deaths
        study.enqueue_trial(trial.params, user_attrs={**kept, RETRY_OF: number})


def fail_unsigned_trials(study: Study) -> None:
    """Fails trials that were asked for but never begun: their enqueued values fit no choice."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if WORKER not in trial.user_attrs:
            with suppress(UpdateFinishedTrialError, ValueError):  # its worker was quicker
                study.tell(trial.number, state=TrialState.FAIL)


def _release(study: Study, trial: FrozenTrial, *, died: bool) -> bool:
    """Fails a trial and queues it again, unless it kills its workers.

    Returns:
        Whether it did; False where another process was quicker, too.
    """
    deaths = int(trial.user_attrs.get(DEATHS, 0)) + died
    deadly = deaths >= MOST_DEATHS
    try:
        if deadly:
            mark = study._storage.set_trial_user_attr
            mark(trial._trial_id, "error", f"{deaths} workers died over it")
            mark(trial._trial_id, GIVEN_UP, True)
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False
    if deadly:
        say(f"trial {trial.number} is given up: {deaths} workers died over its student")
        return False
    retry(study, trial.number, deaths)
    return True


def _beat(trial: Trial, count: int) -> None:
    trial.study._storage.set_trial_system_attr(trial._trial_id, BEAT, count)


def _keep_beating(trial: Trial, seconds: float, stopped: threading.Event, process: int) -> None:
    count = 0
    while not stopped.wait(seconds) and os.getpid() == process:
        count += 1
        # A storage out of reach for a moment is no reason to fall silent for good.
        with suppress(Exception):
            _beat(trial, count)
    trial.study._storage.remove_session()
