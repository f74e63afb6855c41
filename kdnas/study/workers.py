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
from kdnas.runtime.process import is_beside, is_here, lives, process_name
from kdnas.space.architecture import FIELDS
from kdnas.study.attributes import (
    ASKED,
    BEGUN,
    CONTINUES,
    DEATHS,
    ERROR,
    FIXED_ATTR,
    GIVEN_UP,
    HEARTBEAT,
    PICKED,
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


def workers_here(study: Study) -> int:
    """Other live processes of this machine that work on a trial of a study."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    names = {str(t.user_attrs[WORKER]) for t in running if WORKER in t.user_attrs}
    return sum(is_here(name) and lives(name) for name in names - {process_name()})


def of_others(running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those of some trials that no process works on which the same command started."""
    return [t for t in running if not ((name := _worker_of(t)) and is_beside(name))]


def described(running: Sequence[FrozenTrial]) -> str:
    """Trials with the processes that work on them: `2 (process 4711 on host)`."""
    return ", ".join(f"{trial.number} ({_process_of(trial)})" for trial in running)


def _worker_of(trial: FrozenTrial) -> str | None:
    """The name of the process that works on a trial, or asked for it; None where none is known."""
    name = trial.user_attrs.get(WORKER, trial.user_attrs.get(ASKED))
    return None if name is None else str(name)


def _process_of(trial: FrozenTrial) -> str:
    name = _worker_of(trial)
    if name is None:
        return "not signed yet"
    parts = name.split(":")
    return f"process {parts[-2:][0]} on {parts[0]}"


@contextmanager
def heartbeat(trial: Trial, timeout: float) -> Iterator[None]:
    """Signs a trial, and shows others that this process lives for as long as it works on it.

    Optuna's own heartbeat is a time by the database's clock: it ages while the database is gone or
    that clock jumps, and not every storage has it. This one is a count.

    Others take this process for dead after `timeout` seconds without one.
    """
    storage, stopped, process = trial.study._storage, threading.Event(), os.getpid()

    def beat(count: int) -> None:
        storage.set_trial_system_attr(trial._trial_id, HEARTBEAT, count)

    def keep_beating() -> None:
        count = 0
        while not stopped.wait(timeout / 4) and os.getpid() == process:
            count += 1
            # A storage out of reach for a moment is no reason to fall silent for good.
            with suppress(Exception):
                beat(count)
        storage.remove_session()

    beat(0)  # before the signature: a signed trial has had one
    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        trial.set_user_attr(WORKER, process_name())
        yield
    finally:
        stopped.set()
        thread.join(timeout=5)


class WorkerMonitor:
    """Finds trials whose worker died, and queues their candidates again.

    A worker counts as dead after `timeout` seconds without a heartbeat, also where its process is
    known to live: it may be stopped, or at work on the study that this one is a copy of. One of
    this machine whose process is gone counts as dead at once.
    """

    def __init__(self, study: Study, timeout: float) -> None:
        self._study, self._timeout = study, timeout
        # By trial: its heartbeat, when it was last looked at, and for how long it stood still.
        self._seen: dict[int, tuple[object, float, float]] = {}

    def release_dead(self) -> int:
        """Fails the trials of dead workers, queues their candidates, and returns how many."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(_release(self._study, t, died=True) for t in running if self._died(t))

    def release(self, number: int) -> None:
        """Fails a trial of this process, unless it has a result after all, and queues it again."""
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.RUNNING:
            _release(self._study, trial, died=False)

    def _died(self, trial: FrozenTrial) -> bool:
        worker = _worker_of(trial)
        if worker is None:
            return self._silent(trial, UNSIGNED_SECONDS)
        gone = is_here(worker) and not lives(worker)
        return gone or self._silent(trial, self._timeout)

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

    The study may pay for `n_trials` full trainings; the trial has all its parameters.

    Raises:
        LostTrialError: Another process was given the same trial.
    """
    while True:
        trials = study.get_trials(deepcopy=False)
        ours = trials[trial.number]
        if ours.user_attrs.get(BEGUN):
            raise LostTrialError
        # Those that are asked for later, or are not signed yet, will look at ours.
        ended = [t for t in trials if t.state.is_finished()]
        ended += [t for t in trials[: ours.number] if t.state == TrialState.WAITING]
        signed = [t for t in trials if t.state == TrialState.RUNNING and WORKER in t.user_attrs]
        rivals = [t for t in signed if t.number != ours.number]
        first = [t for t in rivals if t.user_attrs.get(BEGUN) or t.number < ours.number]
        if reason := _conflict(ours, ended + first, n_trials, pruner):
            return reason
        if not _conflict(ours, ended + rivals, n_trials, pruner):
            break
        time.sleep(UNDECIDED_SECONDS)
        monitor.release_dead()
    trial.set_user_attr(BEGUN, True)
    if study.get_trials(deepcopy=False)[trial.number].user_attrs[WORKER] != process_name():
        raise LostTrialError  # SQLite gives a waiting trial to two at once
    return None


def retry(study: Study, number: int, died: bool = False) -> None:
    """Queues a failed trial's candidate again, at the cost that it was to have.

    One whose process died while it was proposed lacks parameters that others have; the sampler will
    propose another.
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    params = {**trial.system_attrs.get(FIXED_ATTR, {}), **trial.params}
    if {*FIELDS}.union(*(other.params for other in trials)) <= params.keys():
        kept = {k: trial.user_attrs[k] for k in (PICKED, CONTINUES, UNITS) if k in trial.user_attrs}
        kept[DEATHS] = int(trial.user_attrs.get(DEATHS, 0)) + died
        study.enqueue_trial(params, user_attrs={**kept, RETRY_OF: number})


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
    # A new candidate begins where it could be trained to the end.
    cost = int(ours.user_attrs.get(UNITS, pruner.full_cost))
    left = n_trials * pruner.full_cost - pruner.spent(others)
    if cost > max(left, pruner.owed(others)):
        return "other trials spend the rest of the budget"
    return None


def _release(study: Study, trial: FrozenTrial, *, died: bool) -> bool:
    """Fails a trial and queues its candidate again, unless that kills its workers.

    False where it was not queued: another process was quicker, or it is given up.
    """
    deaths = int(trial.user_attrs.get(DEATHS, 0)) + died
    deadly, reason = deaths >= MAX_DEATHS, f"{deaths} workers died while they worked on it"
    try:
        if deadly:
            for name, value in {ERROR: reason, GIVEN_UP: True}.items():
                study._storage.set_trial_user_attr(trial._trial_id, name, value)
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False
    if deadly:
        say(f"trial {trial.number}: given up, {reason}")
        return False
    retry(study, trial.number, died)
    return True
