"""Who works on a trial, whether it still lives, and what becomes of the trial if not."""

from __future__ import annotations

import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.search.rungs import CONTINUES, UNITS
from kdnas.space.families import FIELDS

# Attributes of a trial: its worker, and the trial that was lost before it with its worker.
WORKER = "worker"
RETRY_OF = "retry_of"
# What a worker counts up while it lives, where the storage has no heartbeat of its own.
BEAT = "kdnas:beat"
# A trial without a worker's name was asked for this moment, or its worker was killed meanwhile.
UNSIGNED_SECONDS = 20.0


def worker_name() -> str:
    """This process, so that others can tell whether it still lives: host:pid:start."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


@contextmanager
def alive(trial: Trial, timeout: int) -> Iterator[None]:
    """Signs a trial and gives a sign of life for as long as this process works on it.

    Where only processes of one machine meet (SQLite, a journal file), they see each other without.

    Args:
        trial: Just asked for.
        timeout: Seconds without a sign after which others take this process for dead.
    """
    stopped = threading.Event()
    thread = None
    if beat := _beat(trial):
        beat(0)  # before the signature: a signed trial has had one
        work = (beat, max(1.0, timeout / 4), stopped, trial.study._storage, os.getpid())
        thread = threading.Thread(target=_keep_beating, args=work, daemon=True)
        thread.start()
    try:
        trial.set_user_attr(WORKER, worker_name())
        yield
    finally:
        stopped.set()
        if thread:
            thread.join(timeout=5)


class Lookout:
    """Finds trials whose worker died, and queues them again.

    Args:
        study: Whose trials.
        timeout: Seconds without a sign of life after which a worker on another machine is dead.
    """

    def __init__(self, study: Study, timeout: int) -> None:
        self._study = study
        self._timeout = timeout
        self._seen: dict[int, tuple[object, float]] = {}

    def release_dead(self) -> int:
        """Fails dead trials, queues their architectures again, and returns how many."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if self._died(t)]
        released = sum(_release(self._study, t.number) for t in dead)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        return released

    def give_up(self, number: int) -> None:
        """Fails a trial of this process, unless it was told after all, and queues it again."""
        if self._study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING:
            _release(self._study, number)

    def _died(self, trial: FrozenTrial) -> bool:
        host, pid, start = str(trial.user_attrs.get(WORKER, "::")).rsplit(":", 2)
        if not pid:
            return self._silent(trial, UNSIGNED_SECONDS)
        if host != socket.gethostname():
            by_attribute = isinstance(self._study._storage, GrpcStorageProxy)
            return by_attribute and self._silent(trial, self._timeout)
        try:
            return f"{psutil.Process(int(pid)).create_time():.0f}" != start
        except psutil.NoSuchProcess:
            return True

    def _silent(self, trial: FrozenTrial, seconds: float) -> bool:
        """Whether a trial's sign of life stood still, by this process's own clock."""
        sign, now = trial.system_attrs.get(BEAT), time.monotonic()
        before, since = self._seen.get(trial.number, (None, now))
        if trial.number not in self._seen or before != sign:
            self._seen[trial.number] = (sign, now)
            return False
        return now - since > seconds


def retry(study: Study, number: int) -> None:
    """Queues a failed trial's architecture again, for what it was to cost."""
    trial = study.get_trials(deepcopy=False)[number]
    if set(FIELDS) <= trial.params.keys():
        kept = {k: trial.user_attrs[k] for k in (CONTINUES, UNITS) if k in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs={**kept, RETRY_OF: number})


def retry_stale(study: Study, trial: FrozenTrial) -> None:
    """Queues a trial that its storage failed for want of a heartbeat."""
    retry(study, trial.number)


def fail_unsigned_trials(study: Study) -> None:
    """Fails trials that were asked for but never begun: their enqueued values fit no choice."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if WORKER not in trial.user_attrs:
            with suppress(UpdateFinishedTrialError, ValueError):  # its worker was quicker
                study.tell(trial.number, state=TrialState.FAIL)


def _release(study: Study, number: int) -> bool:
    """Fails a trial; False where another process was quicker, which queues it again then."""
    try:
        study.tell(number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False
    retry(study, number)
    return True


def _beat(trial: Trial) -> Callable[[int], None] | None:
    """Gives one sign of life; None where the storage needs none."""
    # Optuna gives signs of life within Study.optimize only, which knows no promotions.
    storage, trial_id = trial.study._storage, trial._trial_id
    backend = getattr(storage, "_backend", storage)
    if isinstance(storage, GrpcStorageProxy):
        return lambda count: storage.set_trial_system_attr(trial_id, BEAT, count)
    if isinstance(backend, RDBStorage) and backend.get_heartbeat_interval():
        return lambda count: backend.record_heartbeat(trial_id)
    return None


def _keep_beating(
    beat: Callable[[int], None],
    seconds: float,
    stopped: threading.Event,
    storage: BaseStorage,
    process: int,
) -> None:
    count = 0
    while not stopped.wait(seconds) and os.getpid() == process:
        count += 1
        # A storage out of reach for a moment is no reason to fall silent for good.
        with suppress(Exception):
            beat(count)
    storage.remove_session()
