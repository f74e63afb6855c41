"""Ask, evaluate, tell, until the study has its total."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.console import say
from kdnas.errors import KdnasError
from kdnas.run import Run
from kdnas.search.candidate import Evaluator, Outcome
from kdnas.search.samplers.distinct import taken_architectures
from kdnas.search.study import (
    INFEASIBLE,
    REPEATS,
    WORKER,
    evaluated,
    fail_unsigned_trials,
    release_dead_trials,
    running,
    worker_name,
)
from kdnas.search.winner import kept_trials
from kdnas.space import Architecture, SearchSpace

MOST_FAILURES = 3
POLL_SECONDS = 2.0
COPIED = ("params", "macs", "latency_ms", "latency_iqr_ms", "teacher_latency_ms", "speedup")


class SearchLoop:
    """Works on a study until it has its total; several processes may do so at once.

    Args:
        study: With a sampler.
        space: The students to choose from.
        evaluator: Evaluates one.
        run: Its settings; what candidates learnt is kept in its `trials/NUMBER`.
    """

    def __init__(self, study: Study, space: SearchSpace, evaluator: Evaluator, run: Run) -> None:
        self.study = study
        self.space = space
        self.evaluator = evaluator
        self.settings = run.settings
        self.run = run
        self.failures = 0

    def work(self) -> None:
        """Returns when the total is reached, or no architecture is left to try.

        Raises:
            KdnasError: Several candidates in a row failed.
        """
        total = self.settings.trials
        if revived := release_dead_trials(self.study):
            say(f"{revived} trial(s) of a process that died will be tried again")
        while len(evaluated(self.study)) < total:
            if len(evaluated(self.study)) + running(self.study) >= total:
                self._wait()
            elif self._exhausted():
                say(f"all {len(self.space.architectures)} students of the space were tried")
                break
            else:
                self._trial()

    def _wait(self) -> None:
        """Other processes hold the last trials; one of them may die."""
        time.sleep(POLL_SECONDS)
        release_dead_trials(self.study)

    def _exhausted(self) -> bool:
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return not waiting and self._set() <= taken_architectures(self.study)

    def _set(self) -> set[Architecture]:
        return set(self.space.architectures)

    def _trial(self) -> None:
        try:
            trial = self.study.ask(self.space.distributions)
        except ValueError as error:
            fail_unsigned_trials(self.study)
            say(f"an enqueued trial is not of this space and was failed: {error}")
            return
        trial.set_user_attr(WORKER, worker_name())
        architecture = Architecture.from_params(trial.params)
        try:
            self._evaluate(trial, architecture)
            self.failures = 0
        except KeyboardInterrupt:
            if self._fail(trial):
                self.study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})
            raise
        except KdnasError:
            self._fail(trial)
            raise
        except Exception as error:
            self._failed(trial, architecture, error)

    def _fail(self, trial: Trial) -> bool:
        """Fails a trial unless its result was told before the interruption came."""
        told = self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        return told.state == TrialState.FAIL

    def _evaluate(self, trial: Trial, architecture: Architecture) -> None:
        if not self.space.is_valid(trial.params):
            raise ValueError("not a valid student of this space")
        if before := self._before(architecture):
            self._repeat(trial, before)
            return
        outcome = self.evaluator.evaluate(architecture)
        for name, value in outcome.attributes.items():
            trial.set_user_attr(name, value)
        if outcome.score is None or outcome.distilled is None:
            trial.set_user_attr(INFEASIBLE, True)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            outcome.distilled.save(self.run.folder / "trials" / str(trial.number))
            self.study.tell(trial, self._values(outcome.attributes))
            self._drop_unneeded()
        self.run.log("trial", number=trial.number, **architecture.params, **outcome.attributes)
        self._say(trial.number, architecture, outcome)

    def _say(self, number: int, architecture: Architecture, outcome: Outcome) -> None:
        start = f"trial {number}  {architecture.label}  {outcome.costs.speedup:.2f}x"
        if outcome.score is None:
            say(f"{start}  too slow for --speedup {self.settings.speedup:g}")
            return
        done = evaluated(self.study)
        best = max(float(t.user_attrs["reward"]) for t in done)
        say(
            f"{start}  loss {outcome.score.loss:.4f}  reward {outcome.score.reward:.4f}  "
            f"{outcome.seconds:.1f} s  ({len(done)}/{self.settings.trials}, best {best:.4f})"
        )

    def _values(self, attributes: dict[str, float]) -> list[float]:
        if self.settings.objective == "reward":
            return [attributes["reward"]]
        if self.settings.cost == "latency":  # relative: milliseconds drift, the ratio does not
            return [attributes["loss"], 1 / attributes["speedup"]]
        return [attributes["loss"], attributes[self.settings.cost]]

    def _before(self, architecture: Architecture) -> FrozenTrial | None:
        for trial in evaluated(self.study):
            if Architecture.from_params(trial.params) == architecture:
                return trial
        return None

    def _repeat(self, trial: Trial, before: FrozenTrial) -> None:
        """Tells what is known already, and marks the trial."""
        trial.set_user_attr(REPEATS, before.number)
        for name in (*COPIED, "loss", "reward"):
            trial.set_user_attr(name, before.user_attrs[name])
        trial.set_user_attr("seconds", 0.0)
        self.study.tell(trial, before.values)
        say(f"trial {trial.number} repeats trial {before.number}; its result is told again")

    def _failed(self, trial: Trial, architecture: Architecture, error: Exception) -> None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr("error", reason)
        self._fail(trial)
        say(f"trial {trial.number}  {architecture.label}  failed: {reason}")
        self.failures += 1
        if self.failures >= MOST_FAILURES:
            raise KdnasError(f"{self.failures} candidates in a row failed, the last with {reason}")

    def _drop_unneeded(self) -> None:
        """Deletes what candidates learnt that can be no winner any more."""
        kept = {str(number) for number in kept_trials(self.study)}
        known = {str(t.number) for t in evaluated(self.study)}
        for folder in (self.run.folder / "trials").iterdir():
            if folder.name in known - kept:
                shutil.rmtree(folder, ignore_errors=True)
