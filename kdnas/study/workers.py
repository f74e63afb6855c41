"""Several workers at one study: heartbeats, trials of dead workers, one candidate for two."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.runtime.console import say
from kdnas.runtime.process import is_here, lives, process_name
from kdnas.space.families import FIELDS
from kdnas.study.attributes import (
    BEGUN,
    CONTINUES,
    DEATHS,
    ERROR,
    GIVEN_UP,
    HEARTBEAT,
    RETRY_OF,
    UNITS,
    WORKER,
)
from kdnas.study.pruner import SuccessiveHalvingPruner

# Workers that may die over a candidate before it is given up.
MAX_DEATHS = 5
# A trial without a worker's name was asked for this moment, or its worker was killed meanwhile.
UNSIGNED_SECONDS = 20.0
UNDECIDED_SECONDS = 0.05


class LostTrialError(Exception):
    """Another process has the trial, or took this one for dead."""


def worker_name() -> str:
    """This process, so that others can tell whether it still runs."""
    return process_name()


def workers_here(study: Study) -> int:
    """Other live processes of this machine that work on a trial of a study."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    names = {str(t.user_attrs[WORKER]) for t in running if WORKER in t.user_attrs}
    return sum(is_here(name) and lives(name) for name in names - {worker_name()})


@contextmanager
def heartbeat(trial: Trial, timeout: float) -> Iterator[None]:
    """Signs a trial, and shows others that this process lives for as long as it works on it.

    Optuna's own heartbeat is a time by the database's clock: it ages while the database is gone or
    that clock jumps, and not every storage has it. This one is a count.

    Args:
        trial: Just asked for.
        timeout: Seconds without a heartbeat after which others take this process for dead.
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


class WorkerMonitor:
    """Finds trials whose worker died, and queues their candidates again.

    Args:
        study: Whose trials.
        timeout: Seconds without a heartbeat after which a worker that is not known to run on this
            machine counts as dead.
    """

    def __init__(self, study: Study, timeout: float) -> None:
        self._study = study
        self._timeout = timeout
        # By trial: its heartbeat, when it was last looked at, and for how long it stood still.
        self._seen: dict[int, tuple[object, float, float]] = {}

    def release_dead(self) -> int:
        """Fails the trials of dead workers, queues their candidates, and returns how many."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if self._died(t)]
        return sum(_release(self._study, t, died=True) for t in dead)

    def release(self, number: int) -> None:
        """Fails a trial of this process, unless it has a result after all, and queues it again."""
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.RUNNING:
            _release(self._study, trial, died=False)

    def _died(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if worker is None:
            return self._silent(trial, UNSIGNED_SECONDS)
        return not lives(worker) if is_here(worker) else self._silent(trial, self._timeout)

    def _silent(self, trial: FrozenTrial, seconds: float) -> bool:
        """Whether a trial's heartbeat stood still, by this process's own clock.

        Between two looks half the time counts at most: nobody could give a sign while the storage
        was out of reach.
        """
        count, now = trial.system_attrs.get(HEARTBEAT), time.monotonic()
        before, last, still = self._seen.get(trial.number, (object(), now, 0.0))
        still = still + min(now - last, seconds / 2) if before == count else 0.0
        self._seen[trial.number] = (count, now, still)
        return still >= seconds


def claim(
    study: Study,
    trial: Trial,
    n_trials: int,
    pruner: SuccessiveHalvingPruner,
    monitor: WorkerMonitor,
) -> str | None:
    """Marks a signed trial as begun, or says why it must be given back.

    Storages have no lock that spans asking: two workers may be given the same candidate, or may
    both start the last trial. So each signs its trial first and looks at the others' afterwards,
    and of two in conflict at least one sees the other. A trial that has begun goes on; else the one
    with the lower number does.

    Args:
        study: Of the trial.
        trial: With all its parameters, signed.
        n_trials: Full trainings that the study may pay for.
        pruner: Knows what trials cost.
        monitor: Releases the trials of workers that died undecided.

    Raises:
        LostTrialError: Another process was given the same trial.
    """
    while True:
        trials = study.get_trials(deepcopy=False)
        ours = trials[trial.number]
        if ours.user_attrs.get(BEGUN):
            raise LostTrialError
        known = [t for t in trials if t.number != ours.number and _counts(t, ours)]
        open_ = {t.number for t in known if t.state == TrialState.RUNNING and not _begun(t)}
        first = [t for t in known if t.number not in open_ or t.number < ours.number]
        if reason := _conflict(ours, first, n_trials, pruner):
            return reason
        if not _conflict(ours, known, n_trials, pruner):
            break
        time.sleep(UNDECIDED_SECONDS)
        monitor.release_dead()
    trial.set_user_attr(BEGUN, True)
    if study.get_trials(deepcopy=False)[trial.number].user_attrs[WORKER] != worker_name():
        raise LostTrialError  # SQLite gives a waiting trial to two at once
    return None


def retry(study: Study, number: int, deaths: int | None = None) -> None:
    """Queues a failed trial's candidate again, at the cost that it was to have.

    Args:
        study: Of the trial.
        number: The trial's.
        deaths: How many workers died over it; None: as many as before.
    """
    trial = study.get_trials(deepcopy=False)[number]
    if set(FIELDS) <= trial.params.keys():
        kept = {k: trial.user_attrs[k] for k in (CONTINUES, UNITS, DEATHS) if k in trial.user_attrs}
        if deaths is not None:
            kept[DEATHS] = deaths
        study.enqueue_trial(trial.params, user_attrs={**kept, RETRY_OF: number})


def _counts(other: FrozenTrial, ours: FrozenTrial) -> bool:
    """Whether another trial must be looked at: not those that will look at ours."""
    if other.state == TrialState.WAITING:
        return other.number < ours.number
    return other.state != TrialState.RUNNING or WORKER in other.user_attrs


def _begun(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(BEGUN))


def _conflict(
    ours: FrozenTrial,
    others: Sequence[FrozenTrial],
    n_trials: int,
    pruner: SuccessiveHalvingPruner,
) -> str | None:
    for other in others:
        if other.state == TrialState.RUNNING and other.params == ours.params:
            return f"trial {other.number} has the same candidate"
        lost = ours.user_attrs.get(RETRY_OF)
        again = lost is not None and other.user_attrs.get(RETRY_OF) == lost
        if again and other.number < ours.number:
            return f"trial {other.number} retries trial {lost} already"
    cost = int(ours.user_attrs.get(UNITS, 1))
    if pruner.spent(others) + cost > n_trials * pruner.full_cost:
        return "other trials spend the rest of the budget"
    return None


def _release(study: Study, trial: FrozenTrial, *, died: bool) -> bool:
    """Fails a trial and queues its candidate again, unless that kills its workers.

    Returns:
        Whether it was queued; False where another process was quicker, too.
    """
    deaths = int(trial.user_attrs.get(DEATHS, 0)) + died
    deadly = deaths >= MAX_DEATHS
    try:
        if deadly:
            set_attr = study._storage.set_trial_user_attr
            set_attr(trial._trial_id, ERROR, f"{deaths} workers died while they worked on it")
            set_attr(trial._trial_id, GIVEN_UP, True)
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False
    if deadly:
        say(f"trial {trial.number}: given up, {deaths} workers died while they worked on it")
        return False
    retry(study, trial.number, deaths)
    return True


def _beat(trial: Trial, count: int) -> None:
    trial.study._storage.set_trial_system_attr(trial._trial_id, HEARTBEAT, count)


def _keep_beating(trial: Trial, seconds: float, stopped: threading.Event, process: int) -> None:
    count = 0
    while not stopped.wait(seconds) and os.getpid() == process:
        count += 1
        # A storage out of reach for a moment is no reason to fall silent for good.
        with suppress(Exception):
            _beat(trial, count)
    trial.study._storage.remove_session()
