"""Ask, evaluate, tell, until the study has spent its budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState

from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import progress, say
from kdnas.scoring.evaluator import Evaluator
from kdnas.space import Architecture, SearchSpace
from kdnas.study.budget import Plan
from kdnas.study.conflicts import LostTrialError, admit
from kdnas.study.constraints import all_beyond, described
from kdnas.study.kept import Kept
from kdnas.study.outage import outages, patiently
from kdnas.study.rungs import CONTINUES, UNITS, next_promotion, spent
from kdnas.study.samplers.distinct import taken_architectures
from kdnas.study.samplers.names import GIVEN_BACK
from kdnas.study.tell import Teller
from kdnas.study.trials import anybody_scored, beyond_in_a_row, evaluated, running
from kdnas.study.workers import Lookout, alive, fail_unsigned_trials, retry

MOST_FAILURES = 3
# Students beyond the limits, timed one after the other, after which no other one is looked for.
MOST_BEYOND = 100
POLL_SECONDS = 2.0

T = TypeVar("T")


class SearchLoop:
    """Works on a study until its budget is spent; several processes may do so at once.

    Args:
        study: With a sampler.
        space: The students to choose from.
        evaluator: Evaluates one.
        run: Its settings; what candidates learnt is kept in its `trials/NUMBER`.
        plan: The budget.
    """

    def __init__(
        self, study: Study, space: SearchSpace, evaluator: Evaluator, run: Run, plan: Plan
    ) -> None:
        self.study = study
        self.space = space
        self.evaluator = evaluator
        self.run = run
        self.plan = plan
        self.teller = Teller(study, run.settings, plan)
        self.lookout = Lookout(study, run.settings.worker_timeout)
        self.kept = Kept(study, run.folder, plan)
        self.failures = 0
        # Trials of this process that the storage was lost in the middle of.
        self.interrupted: list[int] = []

    def work(self) -> None:
        """Returns when the budget is spent, or no architecture is left to try.

        Raises:
            KdnasError: Several candidates in a row failed.
        """
        done, best = self._patiently(self._standing)
        if done > self.plan.trials:
            self._say(f"{done:g} trials are done, and only {self.plan.trials} were asked for")
        with progress(self.plan.title or "search", self.plan.trials, done) as advance:
            while self._patiently(self._worth_going_on):
                done, best = self._patiently(self._standing)
                advance(best, done)

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, self._say)

    def _worth_going_on(self) -> bool:
        """Takes the next step; False where there is none."""
        while self.interrupted:
            self.lookout.give_up(self.interrupted[-1])
            self.interrupted.pop()
        if revived := self.lookout.release_dead():
            self._say(f"{revived} trial(s) of a process that died will be tried again")
        left = self.plan.units - spent(self.study.get_trials(deepcopy=False), self.plan.ladder)
        beyond = self._all_beyond_limits()
        fresh = left >= self.plan.ladder.top and not beyond and not self._exhausted()
        promotion = next_promotion(self.study, self.plan.ladder, left, fresh=fresh)
        if promotion:
            attributes = {
                CONTINUES: promotion.trial.number,
                UNITS: self.plan.ladder.cost(promotion.rung),
            }
            self.study.enqueue_trial(promotion.trial.params, user_attrs=attributes)
        if fresh or self._waiting(paid=left < self.plan.ladder.top):
            self._trial()
        elif running(self.study):  # other processes hold the last trials; one of them may die
            time.sleep(POLL_SECONDS)
        else:
            if left >= self.plan.ladder.top and not beyond:
                count = len(self.space.architectures)
                self._say(f"all {count} students of the space were tried")
            return False
        return True

    def _all_beyond_limits(self) -> bool:
        """Whether students are tried and tried and none keeps the limits any more.

        Raises:
            KdnasError: None ever did, in the run's own search.
        """
        broken = beyond_in_a_row(self.study)
        most = max(MOST_BEYOND, 3 * self.plan.trials)
        if running(self.study):  # one of them may be the first that keeps them
            most *= 2
        if len(broken) < most:
            return False
        if anybody_scored(self.study):
            self._say(f"none of the last {len(broken)} students tried keeps the limits")
            return True
        told = all_beyond(broken, self.run.settings)
        if not self.plan.title:
            raise KdnasError(told)
        self._say(told)
        return True

    def _waiting(self, paid: bool) -> bool:
        """Whether trials wait to be asked for; optionally, those whose cost is set aside."""
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return any(UNITS in t.user_attrs or not paid for t in waiting)

    def _exhausted(self) -> bool:
        return set(self.space.architectures) <= taken_architectures(self.study)

    def _trial(self) -> None:
        waited = self._waiting(paid=False)
        try:
            trial = self.study.ask(self.space.distributions)
        except ValueError as error:
            fail_unsigned_trials(self.study)
            if not waited:
                raise KdnasError(
                    f"study {self.study.study_name!r} has another space: {error}"
                ) from None
            self._say(f"an enqueued trial is not of this space and was failed: {error}")
            return
        architecture = Architecture.from_params(trial.params)
        try:
            with alive(trial, self.run.settings.worker_timeout):
                self._work_on(trial, architecture)
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
            self._say(f"trial {trial.number} went to another process; its result here is dropped")
        except Exception as error:
            self._failed(trial, architecture, error)

    def _work_on(self, trial: Trial, architecture: Architecture) -> None:
        if not self.space.is_valid(trial.params):
            raise ValueError("not a valid student of this space")
        if reason := admit(self.study, trial, self.plan, self.lookout):
            trial.set_user_attr(GIVEN_BACK, reason)
            self._fail(trial)
            return
        rung = self._rung(trial)
        trial.set_user_attr(UNITS, self.plan.ladder.cost(rung))
        if told := self.teller.known(trial, architecture, rung):
            self._say(told)
            return
        self._evaluate(trial, architecture, rung)

    def _evaluate(self, trial: Trial, architecture: Architecture, rung: int) -> None:
        share = self.plan.ladder.share(rung)
        name = f"{self.plan.title or 'trial'} {trial.number}"
        before = trial.user_attrs.get(CONTINUES)
        costs = self.teller.costs_of(before) if before is not None else None
        checkpoint = self.kept.checkpoint(architecture)
        outcome = self.evaluator.evaluate(
            architecture,
            until=share,
            checkpoint=checkpoint,
            costs=costs,
            title=name,
        )
        try:
            if outcome.distilled and share == 1 and not self.plan.title:
                outcome.distilled.save(self.kept.student(trial.number))
        finally:  # where it cannot be kept, what it scored still counts
            self._patiently(lambda: self.teller.tell(trial, outcome, rung))
        if checkpoint and share == 1:
            checkpoint.unlink(missing_ok=True)
        self.kept.drop_unneeded(rung)
        fields = {**architecture.params, **outcome.attributes, "share": share}
        self.run.log("trial", study=self.study.study_name, number=trial.number, **fields)
        line = f"{name}  {architecture.label}  {outcome.costs.speedup:.2f}x"
        if outcome.score is None:
            say(f"{line}  {described(self.run.settings, outcome.constraints)}")
            return
        part = f"{share:.0%} " if share < 1 else ""
        say(f"{line}  {part}loss {outcome.score.loss:.4f}  reward {outcome.score.reward:.4f}")

    def _rung(self, trial: Trial) -> int:
        before = trial.user_attrs.get(CONTINUES)
        if before is None:
            return 0
        ended = self.plan.ladder.rung_of(self.study.get_trials(deepcopy=False)[before])
        return 0 if ended is None else ended + 1

    def _standing(self) -> tuple[float, str]:
        """How many whole trainings are paid for, and the best so far."""
        used = spent(self.study.get_trials(deepcopy=False), self.plan.ladder)
        rewards = [float(t.user_attrs["reward"]) for t in evaluated(self.study)]
        best = f"best reward {max(rewards):.4f}" if rewards else ""
        return used / self.plan.ladder.top, best

    def _fail(self, trial: Trial) -> bool:
        """Fails a trial unless its result was told before the interruption came."""
        told = self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        return told.state == TrialState.FAIL

    def _failed(self, trial: Trial, architecture: Architecture, error: Exception) -> None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr("error", reason)
        self._fail(trial)
        self._say(f"trial {trial.number}  {architecture.label}  failed: {reason}")
        self.failures += 1
        if self.failures >= MOST_FAILURES:
            raise KdnasError(f"{self.failures} candidates in a row failed, the last with {reason}")

    def _say(self, message: str) -> None:
        say(f"{self.plan.title}: {message}" if self.plan.title else message)
