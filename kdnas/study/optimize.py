"""The search: ask for a candidate, score it, tell the study, until the budget is spent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.config import Settings
from kdnas.errors import KdnasError, MissedLimitError
from kdnas.runtime.console import progress, say
from kdnas.runtime.formatting import several
from kdnas.scoring.evaluate import Evaluate
from kdnas.scoring.limits import Limits
from kdnas.scoring.scorer import Budget
from kdnas.space import Candidate, SearchSpace
from kdnas.students.state import state_artifact
from kdnas.study.attributes import (
    CONTINUES,
    ERROR,
    FIXED_ATTR,
    GIVEN_BACK,
    PICKED,
    UNITS,
    WORKER,
)
from kdnas.study.deadline import Deadline
from kdnas.study.picks import queue_narrower
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.queue import ask
from kdnas.study.record import EVENT, as_event
from kdnas.study.results import TrialWriter
from kdnas.study.rows import row_of
from kdnas.study.samplers.distinct import taken_candidates
from kdnas.study.storage import outages, wait_for_storage
from kdnas.study.study import evaluated, has_score, infeasible
from kdnas.study.winner import none_feasible, possible_winners
from kdnas.study.workers import (
    LostTrialError,
    WorkerMonitor,
    claim,
    described,
    heartbeat,
    of_others,
    retry,
)

MAX_FAILURES = 3
# Infeasible students in a row after which no more are asked for.
MAX_INFEASIBLE = 100
# So many of them, where none ever kept the limits, and a search says when it will end.
TELL_INFEASIBLE = 20
POLL_SECONDS = 2.0
# Seconds after which a search says which workers it waits for.
ANNOUNCE_SECONDS = 10.0
RANDOM_SEARCH = "random search"

T = TypeVar("T")
Log = Callable[..., None]


def optimize(
    study: Study,
    space: SearchSpace,
    evaluate: Evaluate,
    settings: Settings,
    folder: Path,
    log: Log,
    beside: Study | None = None,
    known: Collection[int] = (),
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Works on a study until its trials or its time are spent, or no candidate is left to try.

    Several processes may do so at once, and any may be killed at any moment.

    Args:
        study: With a sampler.
        space: The candidates.
        evaluate: Gives a candidate's costs, score and reward.
        settings: Budget, rungs, objective and limits.
        folder: Of the run: `trials/NUMBER` keeps students that may win, `rungs` paused trainings.
        log: Takes an event and its fields.
        beside: The run's own study, where this one is random search as a control: candidates train
            in full, those of both are paid for once, and no student is kept.
        known: Numbers of trials that are in the log.
        tick: Is called after each step.

    Raises:
        KdnasError: Several candidates in a row failed, no student keeps the limits, the study
            belongs to another space, or its storage stays out of reach.
    """
    search = _Search(study, space, evaluate, settings, folder, log, beside)
    search.waiting(lambda: search.record_missing(known))
    done, _ = search.waiting(search.standing)
    if done > settings.trials:
        search.say(f"{done:g} trials are done already, more than --trials {settings.trials}")
    with standing_shown(study, settings, control=beside is not None) as show:
        while search.waiting(search.step):
            tick()
            show()


@contextmanager
def standing_shown(
    study: Study, settings: Settings, *, control: bool
) -> Iterator[Callable[[], None]]:
    """Shows how much of a study's budget is spent; yields a function to call after each step."""
    pruner = SuccessiveHalvingPruner(1 if control else settings.rungs, settings.reduction)

    def standing() -> tuple[float, str]:
        return wait_for_storage(lambda: _standing(study, pruner), say)

    def total() -> int:
        return wait_for_storage(lambda: expected_trials(study, settings.trials), say)

    title, unit = (RANDOM_SEARCH, "random trial") if control else ("search", "trial")
    done, _ = standing()
    with progress(title, total(), done, unit=unit) as advance:

        def show() -> None:
            done, best = standing()
            advance(best, done, total())

        yield show


def expected_trials(study: Study, most: int) -> int:
    """Whole trainings that a study is to pay for: `most`, or what there is time for."""
    deadline = Deadline.of(study)
    return most if deadline is None else min(most, deadline.trials)


def _standing(study: Study, pruner: SuccessiveHalvingPruner) -> tuple[float, str]:
    """How many full trainings are paid for, and the best reward so far."""
    rewards = [float(t.user_attrs["reward"]) for t in evaluated(study)]
    best = f"best reward {max(rewards):.4f}" if rewards else ""
    return pruner.spent(study.get_trials(deepcopy=False)) / pruner.full_cost, best


class _Search:
    """The state of this process in a search."""

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        evaluate: Evaluate,
        settings: Settings,
        folder: Path,
        log: Log,
        beside: Study | None,
    ) -> None:
        self.study, self.space, self.evaluate = study, space, evaluate
        self.settings, self.folder, self.log = settings, folder, log
        self.is_control = beside is not None
        rungs = 1 if beside else settings.rungs
        self.pruner = SuccessiveHalvingPruner(rungs, settings.reduction)
        self.limits = Limits.of(settings)
        settled = evaluated(beside) + infeasible(beside) if beside else []
        known = {space.candidate(t.params): t for t in settled}
        self.results = TrialWriter(study, settings, self.pruner, known)
        self.monitor = WorkerMonitor(study, settings.worker_timeout)
        self.failed: set[Candidate] = set()  # since the last that did not
        self.waited = 0.0  # seconds for other workers, since there was something to do
        # Trials of this process during which the storage was lost.
        self.interrupted: list[int] = []

    def waiting(self, work: Callable[[], T]) -> T:
        """Does something, once the storage is in reach."""
        return wait_for_storage(work, self.say)

    def say(self, message: str) -> None:
        """A line for people."""
        say(f"{RANDOM_SEARCH}: {message}" if self.is_control else message)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The study's trials, those of some states alone where any are given."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def standing(self) -> tuple[float, str]:
        """How many full trainings are paid for, and the best reward so far."""
        return _standing(self.study, self.pruner)

    def step(self) -> bool:
        """Takes the next step; False where there is none."""
        while self.interrupted:
            self.monitor.release(self.interrupted[-1])
            self.interrupted.pop()
        if released := self.monitor.release_dead():
            self.say(f"{released} trial(s) of a worker that died will be tried again")
        full, left = self.pruner.full_cost, self._units_left()
        hopeless = self._none_feasible()
        exhausted = set(self.space.candidates) <= taken_candidates(self.study, self.space)
        fresh = left >= full and not hopeless and not exhausted
        if promotion := self.pruner.next_promotion(self.study, left, fresh=fresh):
            before, rung = promotion
            attributes = {CONTINUES: before.number, UNITS: self.pruner.cost(rung)}
            self.study.enqueue_trial(before.params, user_attrs=attributes)
        if fresh or self._queue_goes_on(left):
            self.waited = 0.0
            self._run_trial()
        elif running := self.trials(TrialState.RUNNING):
            self._wait_for(running)
        else:
            if left >= full and not hopeless:
                self.say(f"all {len(self.space.candidates)} candidates of the space were tried")
            return False
        return True

    def _wait_for(self, running: Sequence[FrozenTrial]) -> None:
        """Waits for other workers, one of which may die; says so once that takes long.

        Of this command's own processes it says nothing: they are known to be at work.
        """
        time.sleep(POLL_SECONDS)
        before, self.waited = self.waited, self.waited + POLL_SECONDS
        others = of_others(running) if before < ANNOUNCE_SECONDS <= self.waited else []
        if others:
            self.say(
                f"waiting for {several(len(others), 'trial')} of other processes: "
                f"{described(others)}; what gives no sign of life for "
                f"{self.settings.worker_timeout} s is tried again"
            )

    def _queue_goes_on(self, left: int) -> bool:
        """Whether a queued trial runs; those with units were paid for when they were queued."""
        queued, deadline = self.trials(TrialState.WAITING), Deadline.of(self.study)
        if deadline is not None and deadline.is_over(self.trials()):
            return False
        return any(left >= self.pruner.full_cost or UNITS in t.user_attrs for t in queued)

    def _units_left(self) -> int:
        """Trainings to the first rung that trials and time leave."""
        trials, deadline = self.trials(), Deadline.of(self.study)
        left = self.settings.trials * self.pruner.full_cost - self.pruner.spent(trials)
        if deadline is not None:
            left = min(left, deadline.units_left(trials, self.pruner))
        return max(left, self.pruner.owed(trials))

    def _none_feasible(self) -> bool:
        """Whether candidate after candidate breaks a limit.

        Raises:
            MissedLimitError: None ever kept them, in the run's own search.
        """
        scored = max((t.number for t in self.trials() if "loss" in t.user_attrs), default=-1)
        broken = [t for t in infeasible(self.study) if t.number > scored]
        most = max(MAX_INFEASIBLE, 3 * expected_trials(self.study, self.settings.trials))
        if self.trials(TrialState.RUNNING):  # one of them may be the first to keep them
            most *= 2
        if len(broken) == TELL_INFEASIBLE < most and not has_score(self.study):
            fastest = max(float(t.user_attrs["speedup"]) for t in broken)
            self.say(
                f"none of {len(broken)} students keeps {self.limits} so far, the fastest is "
                f"{fastest:.2f} times as fast as the teacher; after {most} the search ends"
            )
        if len(broken) < most:
            return False
        if has_score(self.study):
            self.say(f"none of the last {len(broken)} students tried keeps the limits")
            return True
        message = none_feasible(broken, self.limits)
        if not self.is_control:
            raise MissedLimitError(message)
        self.say(message)
        return True

    def _ask(self) -> Trial | None:
        """The next trial; None where it has to be asked for again."""
        try:
            return ask(self.study, self.space.distributions)
        except UpdateFinishedTrialError:  # before it was signed, another took it for dead
            self.say("a trial went to another process; asking again")
        except ValueError as error:
            check_same_space(self.study, self.space)
            if not fail_misfits(self.study, self.space):
                raise  # the sampler's own
            self.say(f"failed an enqueued trial that is not in this space: {error}")
        return None

    def _run_trial(self) -> None:
        trial = self._ask()
        if trial is None:
            return
        candidate = self.space.candidate(trial.params)
        try:
            with heartbeat(trial, self.settings.worker_timeout):
                self._work_on(trial, candidate)
            self.failed.clear()
        except (KeyboardInterrupt, KdnasError):
            with suppress(*outages()):  # others see that this process is gone
                if self._fail(trial):
                    retry(self.study, trial.number)
            raise
        except outages():
            self.interrupted.append(trial.number)
            raise
        except (LostTrialError, UpdateFinishedTrialError):
            self.say(f"trial {trial.number} went to another process; its result here is dropped")
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            with suppress(UpdateFinishedTrialError):
                trial.set_user_attr(ERROR, reason)
            self._fail(trial)
            self._record(trial.number)
            self.say(f"trial {trial.number}  {candidate.label}  failed: {reason}")
            self.failed.add(candidate)
            if len(self.failed) >= MAX_FAILURES:
                raise KdnasError(
                    f"{len(self.failed)} candidates in a row failed, the last with {reason}"
                ) from None

    def _fail(self, trial: Trial) -> bool:
        """Fails a trial unless it has a result already."""
        told = self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        return told.state == TrialState.FAIL

    def _work_on(self, trial: Trial, candidate: Candidate) -> None:
        if not self.space.whole.is_valid(trial.params):  # a person may enqueue what is too slow
            raise ValueError("not a valid candidate of this space")
        reason = claim(self.study, trial, self.settings.trials, self.pruner, self.monitor)
        if reason:
            trial.set_user_attr(GIVEN_BACK, reason)
            self._fail(trial)
            self._record(trial.number)
            return
        number = trial.user_attrs.get(CONTINUES)
        before = None if number is None else self.trials()[number]
        ended = self.pruner.rung_of(before) if before else None
        rung = 0 if ended is None else ended + 1
        trial.set_user_attr(UNITS, self.pruner.cost(rung))
        if message := self.results.reuse(trial, candidate, rung):
            self._record(trial.number)
            self.say(message)
            return
        self._evaluate(trial, candidate, rung, before)

    def _evaluate(
        self, trial: Trial, candidate: Candidate, rung: int, before: FrozenTrial | None
    ) -> None:
        share = self.pruner.share(rung)
        title = f"{RANDOM_SEARCH if self.is_control else 'trial'} {trial.number}"
        checkpoint = self._checkpoint(candidate)
        costs = self.results.costs_of(before) if before else None
        evaluation = self.evaluate(candidate, Budget(share, checkpoint, title), costs)
        if evaluation.score is None and trial.user_attrs.get(PICKED):
            given = (self.study, self.space, candidate, evaluation.violations)
            self.waiting(lambda: queue_narrower(*given))
        student = evaluation.score.student if evaluation.score else None
        try:
            if student is not None and share == 1 and not self.is_control:
                folder = self.folder / "trials" / str(trial.number)
                state_artifact(folder, candidate.params).write(student)
        finally:  # where it cannot be kept, its score still counts
            self.waiting(lambda: self.results.write(trial, evaluation, rung))
        if checkpoint and share == 1:
            checkpoint.unlink(missing_ok=True)
        self._drop_files(rung)
        self._record(trial.number)
        found = self.limits.describe(evaluation.violations, candidate.pruning)
        if evaluation.score:
            part, loss = f"{share:.0%} " if share < 1 else "", 1 - evaluation.score.value
            found = f"{part}loss {loss:.4f}  reward {evaluation.reward:.4f}"
        say(f"{title}  {candidate.label}  {evaluation.costs.speedup:.2f}x  {found}")

    def _record(self, *numbers: int) -> None:
        """Logs how trials ended, so that the run folder knows without the study."""
        trials = self.trials()
        for number in numbers:
            row = as_event(row_of(trials[number], self.settings))
            self.log(EVENT, study=self.study.study_name, control=self.is_control, **row)

    def record_missing(self, known: Collection[int]) -> None:
        """Logs the trials that ended, but are not known: their process may have been killed."""
        ended = [t.number for t in self.trials() if t.state.is_finished()]
        self._record(*(number for number in ended if number not in known))

    def _checkpoint(self, candidate: Candidate) -> Path | None:
        """Where a candidate's training waits to go on."""
        return None if self.pruner.last == 0 else self.folder / "rungs" / f"{candidate.key}.pt"

    def _drop_files(self, rung: int) -> None:
        """Deletes paused trainings that are unlikely to go on, and students that cannot win."""
        if rung < self.pruner.last:
            continued = {t.user_attrs.get(CONTINUES) for t in self.trials()}
            seen = self.pruner.scored_on(self.study, rung)
            for trial in seen[(len(seen) + 1) // 2 + 1 :]:
                checkpoint = self._checkpoint(self.space.candidate(trial.params))
                if checkpoint and trial.number not in continued:
                    checkpoint.unlink(missing_ok=True)
        elif not self.is_control and (known := evaluated(self.study)):
            for number in {t.number for t in known} - possible_winners(self.study):
                shutil.rmtree(self.folder / "trials" / str(number), ignore_errors=True)


def check_same_space(study: Study, space: SearchSpace) -> None:
    """Refuses a study whose trials have other choices than a space.

    Raises:
        KdnasError: They have.
    """
    ours = space.distributions
    for trial in study.get_trials(deepcopy=False):
        for name, theirs in trial.distributions.items():
            if name in ours and ours[name] != theirs:
                raise KdnasError(
                    f"study {study.study_name!r} searches another space: its {name} is one of "
                    f"{_choices(theirs)}, not of {_choices(ours[name])}; choose another --study"
                )


def fail_misfits(study: Study, space: SearchSpace) -> int:
    """Fails unsigned trials whose enqueued values are not in the space; returns how many."""
    failed = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        fixed: dict[str, Any] = trial.system_attrs.get(FIXED_ATTR, {})
        known = {k: d for k, d in space.distributions.items() if k in fixed}
        misfit = any(fixed[name] not in _choices(d) for name, d in known.items())
        if misfit and WORKER not in trial.user_attrs:
            with suppress(UpdateFinishedTrialError, ValueError):  # another worker was quicker
                study.tell(trial.number, state=TrialState.FAIL)
            failed += 1
    return failed


def _choices(distribution: Any) -> Any:
    return getattr(distribution, "choices", distribution)
