"""What goes on from its rung comes before what a search began with."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from kdnas.config import Settings
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study.attributes import CONTINUES, RETRY_OF, UNITS
from kdnas.study.optimize import optimize
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.queue import ask
from kdnas.study.study import create_study, evaluated
from kdnas.study.workers import retry

TEACHER = Architecture(4, 4, 32, 64, "gelu")
SPACE = SearchSpace(TEACHER, derive_choices(TEACHER))
QUEUED = [SPACE.params(candidate) for candidate in SPACE.candidates[:6]]
PROMOTED = {CONTINUES: 9, UNITS: 2}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def opened(url: str) -> optuna.Study:
    """The study as another process has it."""
    return create_study(url, "s", optuna.samplers.RandomSampler(0), "reward", {})


def with_queue(url: str) -> optuna.Study:
    """A study in which the first of two promotions waits behind what the search begins with."""
    study = opened(url)
    for i, params in enumerate(QUEUED):
        study.enqueue_trial(params, user_attrs=PROMOTED if i in (2, 4) else None)
    return study


def test_promotions_are_asked_for_first_then_the_queue_in_its_order(url: str) -> None:
    study = with_queue(url)
    trials = [ask(study, SPACE.distributions) for _ in range(7)]
    assert [trial.number for trial in trials] == [2, 4, 0, 1, 3, 5, 6]
    assert [trial.params for trial in trials[:2]] == [QUEUED[2], QUEUED[4]]
    assert all(trial.state == TrialState.RUNNING for trial in study.trials)


def test_processes_are_given_each_promotion_once(url: str) -> None:
    first, second = with_queue(url), opened(url)
    before = second.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    taken = ask(first, SPACE.distributions).number
    second.get_trials = lambda **_: before  # type: ignore[method-assign] # as it was a moment ago
    assert (taken, ask(second, SPACE.distributions).number) == (2, 4)
    assert ask(second, SPACE.distributions).number == 0


def test_a_promotion_whose_worker_died_comes_first_again(url: str) -> None:
    study = with_queue(url)
    dead = ask(study, SPACE.distributions)
    study.tell(dead, state=TrialState.FAIL)
    study.tell(ask(study, SPACE.distributions), 0.5)
    retry(study, dead.number, died=True)
    again = ask(study, SPACE.distributions)
    assert again.user_attrs[RETRY_OF] == dead.number and again.params == dead.params


def searched(study: optuna.Study, folder: Path, trials: int, stop: int = 10**6) -> list[float]:
    """The shares that candidates were trained to, one after the other, until Ctrl-C at `stop`."""
    asked = list[float]()

    def evaluate(candidate: Candidate, budget: Budget, costs: Costs | None = None) -> Evaluation:
        asked.append(budget.share)
        if len(asked) == stop:
            raise KeyboardInterrupt
        score = Score(candidate.architecture.num_hidden_layers / 10 + budget.share / 100)
        return Evaluation(Costs(1, 1, 1.0, 0.0, 2.0, 2.0), {}, score, score.value, 0.1)

    settings = Settings(trials=trials, rungs=2)
    optimize(study, SPACE, evaluate, settings, folder, lambda *_, **__: None)
    return asked


def test_the_best_third_goes_on_while_others_wait_for_their_first_rung(
    url: str, tmp_path: Path
) -> None:
    study = opened(url)
    for params in QUEUED:
        study.enqueue_trial(params)
    with pytest.raises(KeyboardInterrupt):
        searched(study, tmp_path, 3, stop=4)
    third, resumed = pytest.approx(1 / 3), opened(url)
    assert searched(resumed, tmp_path, 3) == [1, third, third, 1]
    assert [t.number for t in resumed.trials if t.state == TrialState.WAITING] == [5]
    whole = evaluated(study)
    origins = [trial.user_attrs[CONTINUES] for trial in whole]
    assert len(origins) == len(set(origins)) == 2
    assert SuccessiveHalvingPruner(2, 3).spent(study.trials) <= 9
