"""The search: ask for a candidate, score it, tell the study, until the budget is spent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.config import Settings
from kdnas.config.choices import Cost, LatencyRuntime, Objective
from kdnas.errors import KdnasError
from kdnas.runtime.console import progress, say
from kdnas.scoring.costs import CostMeter
from kdnas.scoring.evaluate import Evaluate, Evaluation
from kdnas.scoring.limits import Limits, may_keep
from kdnas.scoring.scorer import Budget
from kdnas.space import Candidate, SearchSpace
from kdnas.space.known_shapes import known_shapes
from kdnas.students.state import state_artifact
from kdnas.study.attributes import CONTINUES, ERROR, FIXED_ATTR, GIVEN_BACK, UNITS, WORKER
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.results import Results
from kdnas.study.samplers.distinct import taken_candidates
from kdnas.study.storage import outages, wait_for_storage
from kdnas.study.study import evaluated, has_score, infeasible, infeasible_in_a_row, is_running
from kdnas.study.winner import none_feasible, possible_winners
from kdnas.study.workers import LostTrialError, WorkerMonitor, claim, heartbeat, retry

MAX_FAILURES = 3
# Infeasible students in a row after which no more are asked for.
MAX_INFEASIBLE = 100
POLL_SECONDS = 2.0
# One planned trial in this many; more of them cost a search more than they gave
# (docs/results.md).
WARM_START_SHARE = 8
RANDOM_SEARCH = "random search"

T = TypeVar("T")
Log = Callable[..., None]


@dataclass(frozen=True)
class SearchOptions:
    """What a search may spend, and what it looks for.

    Attributes:
        n_trials: Full trainings that it may pay for.
        pruner: The rungs between which candidates drop out.
        objective: `reward`, or `pareto`: loss against cost.
        cost: Which cost `pareto` weighs.
        latency_runtime: That students are timed in.
        limits: That no student may break.
        worker_timeout: Seconds without a heartbeat after which a worker elsewhere is dead.
        known: Results of another study, which are copied rather than paid for again.
        control: Name of the search where it is a control; nothing that it trains is kept.
    """

    n_trials: int
    pruner: SuccessiveHalvingPruner = field(default_factory=SuccessiveHalvingPruner)
    objective: Objective = "reward"
    cost: Cost = "latency"
    latency_runtime: LatencyRuntime = "torch"
    limits: Limits = field(default_factory=Limits)
    worker_timeout: float = 120
    known: Mapping[Candidate, FrozenTrial] = field(default_factory=dict)
    control: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> SearchOptions:
        """The search of a run."""
        return cls(
            settings.trials,
            SuccessiveHalvingPruner(settings.rungs, settings.reduction),
            settings.objective,
            settings.cost,
            settings.latency_runtime,
            Limits(settings.speedup, settings.max_params),
            settings.worker_timeout,
        )

    def for_random_search(self, study: Study, space: SearchSpace) -> SearchOptions:
        """Random search with the same budget; what both try is paid for once.

        Args:
            study: Of the search.
            space: Of both.
        """
        settled = evaluated(study) + infeasible(study)
        known = {space.candidate(t.params): t for t in settled}
        pruner = SuccessiveHalvingPruner()
        return replace(self, pruner=pruner, known=known, control=RANDOM_SEARCH)


def trainings_left(study: Study, options: SearchOptions) -> float:
    """Full trainings that a search has yet to pay for; 0 where it is complete.

    Nothing is run. A search whose space or limits end it early has some left for good.
    """
    used = options.pruner.spent(study.get_trials(deepcopy=False)) / options.pruner.full_cost
    return max(0.0, options.n_trials - used)


def warm_start(study: Study, space: SearchSpace, options: SearchOptions, meter: CostMeter) -> None:
    """Queues known shapes and corners of the space in a study that has no trial yet.

    Those that cannot keep the limits are left out.
    """
    if study.get_trials(deepcopy=False):
        return
    most = options.n_trials // WARM_START_SHARE
    first = (Candidate(a, space.recipes[0], space.vocabularies[0]) for a in known_shapes(space))
    fitting = (c for c in first if may_keep(options.limits, c, meter))
    for candidate, _ in zip(fitting, range(most), strict=False):
        study.enqueue_trial(space.params(candidate), skip_if_exists=True)


def optimize(
    study: Study,
    space: SearchSpace,
    evaluate: Evaluate,
    options: SearchOptions,
    folder: Path,
    log: Log,
) -> None:
    """Works on a study until its budget is spent or no candidate is left to try.

    Several processes may do so at once, and any may be killed at any moment.

    Args:
        study: With a sampler.
        space: The candidates.
        evaluate: Gives a candidate's costs, score and reward.
        options: Budget, rungs, objective, limits.
        folder: Of the run: `trials/NUMBER` keeps students that may win, `rungs` paused trainings.
        log: Takes an event and its fields.

    Raises:
        KdnasError: Several candidates in a row failed, no student keeps the limits, the study
            belongs to another space, or its storage stays out of reach.
    """
    search = _Search(study, space, evaluate, options, folder, log)
    done, best = search.waiting(search.standing)
    if done > options.n_trials:
        search.say(f"{done:g} trials are done already, more than --trials {options.n_trials}")
    with progress(options.control or "search", options.n_trials, done) as advance:
        while search.waiting(search.step):
            done, best = search.waiting(search.standing)
            advance(best, done)


class _Search:
    """The state of this process in a search."""

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        evaluate: Evaluate,
        options: SearchOptions,
        folder: Path,
        log: Log,
    ) -> None:
        self.study, self.space, self.evaluate = study, space, evaluate
        self.options, self.pruner, self.limits = options, options.pruner, options.limits
        self.folder, self.log = folder, log
        self.results = Results(
            study,
            space,
            options.pruner,
            options.objective,
            options.cost,
            options.latency_runtime,
            options.known,
        )
        self.monitor = WorkerMonitor(study, options.worker_timeout)
        self.failures = 0
        # Trials of this process during which the storage was lost.
        self.interrupted: list[int] = []

    def waiting(self, work: Callable[[], T]) -> T:
        """Does something, once the storage is in reach."""
        return wait_for_storage(work, self.say)

    def standing(self) -> tuple[float, str]:
        """How many full trainings are paid for, and the best reward so far."""
        used = self.pruner.spent(self.study.get_trials(deepcopy=False))
        rewards = [float(t.user_attrs["reward"]) for t in evaluated(self.study)]
        best = f"best reward {max(rewards):.4f}" if rewards else ""
        return used / self.pruner.full_cost, best

    def step(self) -> bool:
        """Takes the next step; False where there is none."""
        while self.interrupted:
            self.monitor.release(self.interrupted[-1])
            self.interrupted.pop()
        if released := self.monitor.release_dead():
            self.say(f"{released} trial(s) of a worker that died will be tried again")
        full = self.pruner.full_cost
        left = self.options.n_trials * full - self.pruner.spent(
            self.study.get_trials(deepcopy=False)
        )
        hopeless = self._none_feasible()
        fresh = left >= full and not hopeless and not self._exhausted()
        promotion = self.pruner.next_promotion(self.study, left, fresh=fresh)
        if promotion:
            before, rung = promotion
            attributes = {CONTINUES: before.number, UNITS: self.pruner.cost(rung)}
            self.study.enqueue_trial(before.params, user_attrs=attributes)
        if fresh or self._is_waiting(paid=left < full):
            self._run_trial()
        elif is_running(self.study):  # other workers have the last trials; one of them may die
            time.sleep(POLL_SECONDS)
        else:
            if left >= full and not hopeless:
                self.say(f"all {len(self.space.candidates)} candidates of the space were tried")
            return False
        return True

    def _none_feasible(self) -> bool:
        """Whether candidate after candidate breaks a limit.

        Raises:
            KdnasError: None ever kept them, in the run's own search.
        """
        broken = infeasible_in_a_row(self.study)
        most = max(MAX_INFEASIBLE, 3 * self.options.n_trials)
        if is_running(self.study):  # one of them may be the first to keep them
            most *= 2
        if len(broken) < most:
            return False
        if has_score(self.study):
            self.say(f"none of the last {len(broken)} students tried keeps the limits")
            return True
        message = none_feasible(broken, self.limits)
        if not self.options.control:
            raise KdnasError(message)
        self.say(message)
        return True

    def _is_waiting(self, paid: bool) -> bool:
        """Whether trials wait to be asked for; with `paid`, those whose cost is set aside."""
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return any(UNITS in t.user_attrs or not paid for t in waiting)

    def _exhausted(self) -> bool:
        return set(self.space.candidates) <= taken_candidates(self.study, self.space)

    def _ask(self) -> Trial | None:
        """The next trial; None where it has to be asked for again."""
        try:
            return self.study.ask(self.space.distributions)
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
            with heartbeat(trial, self.options.worker_timeout):
                self._work_on(trial, candidate)
            self.failures = 0
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
            self._failed(trial, candidate, error)

    def _work_on(self, trial: Trial, candidate: Candidate) -> None:
        if not self.space.is_valid(trial.params):
            raise ValueError("not a valid candidate of this space")
        reason = claim(self.study, trial, self.options.n_trials, self.pruner, self.monitor)
        if reason:
            trial.set_user_attr(GIVEN_BACK, reason)
            self._fail(trial)
            return
        rung = self._rung(trial)
        trial.set_user_attr(UNITS, self.pruner.cost(rung))
        if message := self.results.reuse(trial, candidate, rung):
            self.say(message)
            return
        self._evaluate(trial, candidate, rung)

    def _evaluate(self, trial: Trial, candidate: Candidate, rung: int) -> None:
        share = self.pruner.share(rung)
        name = f"{self.options.control or 'trial'} {trial.number}"
        before = trial.user_attrs.get(CONTINUES)
        costs = self.results.costs_of(before) if before is not None else None
        checkpoint = self._checkpoint(candidate)
        evaluation = self.evaluate(candidate, Budget(share, checkpoint, name), costs)
        student = evaluation.score.student if evaluation.score else None
        try:
            if student is not None and share == 1 and not self.options.control:
                folder = self.folder / "trials" / str(trial.number)
                state_artifact(folder, candidate.params).write(student)
        finally:  # where it cannot be kept, its score still counts
            self.waiting(lambda: self.results.write(trial, evaluation, rung))
        if checkpoint and share == 1:
            checkpoint.unlink(missing_ok=True)
        self._drop_files(rung)
        self._show(trial, candidate, evaluation, share)

    def _show(
        self, trial: Trial, candidate: Candidate, evaluation: Evaluation, share: float
    ) -> None:
        fields = {**candidate.params, **evaluation.attributes, "share": share}
        self.log("trial", study=self.study.study_name, number=trial.number, **fields)
        name = f"{self.options.control or 'trial'} {trial.number}"
        line = f"{name}  {candidate.label}  {evaluation.costs.speedup:.2f}x"
        if evaluation.score is None:
            say(f"{line}  {self.limits.describe(evaluation.violations)}")
            return
        part = f"{share:.0%} " if share < 1 else ""
        loss = 1 - evaluation.score.value
        say(f"{line}  {part}loss {loss:.4f}  reward {evaluation.reward:.4f}")

    def _rung(self, trial: Trial) -> int:
        before = trial.user_attrs.get(CONTINUES)
        if before is None:
            return 0
        ended = self.pruner.rung_of(self.study.get_trials(deepcopy=False)[before])
        return 0 if ended is None else ended + 1

    def _checkpoint(self, candidate: Candidate) -> Path | None:
        """Where a candidate's training waits to go on."""
        return None if self.pruner.last == 0 else self.folder / "rungs" / f"{candidate.key}.pt"

    def _drop_files(self, rung: int) -> None:
        """Deletes paused trainings that are unlikely to go on, and students that cannot win."""
        if rung < self.pruner.last:
            trials = self.study.get_trials(deepcopy=False)
            continued = {t.user_attrs.get(CONTINUES) for t in trials}
            seen = self.pruner.scored_on(self.study, rung)
            for trial in seen[(len(seen) + 1) // 2 + 1 :]:
                checkpoint = self._checkpoint(self.space.candidate(trial.params))
                if checkpoint and trial.number not in continued:
                    checkpoint.unlink(missing_ok=True)
        elif not self.options.control and (known := evaluated(self.study)):
            dropped = {t.number for t in known} - possible_winners(self.study)
            for folder in self.folder.glob("trials/*"):
                if folder.name in map(str, dropped):
                    shutil.rmtree(folder, ignore_errors=True)

    def _fail(self, trial: Trial) -> bool:
        """Fails a trial unless it has a result already."""
        told = self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        return told.state == TrialState.FAIL

    def _failed(self, trial: Trial, candidate: Candidate, error: Exception) -> None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(ERROR, reason)
        self._fail(trial)
        self.say(f"trial {trial.number}  {candidate.label}  failed: {reason}")
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            raise KdnasError(f"{self.failures} candidates in a row failed, the last with {reason}")

    def say(self, message: str) -> None:
        """A line for people."""
        say(f"{self.options.control}: {message}" if self.options.control else message)


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
