"""What may go wrong while a study is asked for a trial, told apart; and a control read as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.process import process_name
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation, evaluate_candidate
from kdnas.scoring.limits import Limits
from kdnas.scoring.scorer import Budget
from kdnas.scoring.scorers import TableScorer
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study import join
from kdnas.study.attributes import BORROWED, WORKER
from kdnas.study.join import share_threads
from kdnas.study.optimize import optimize
from kdnas.study.study import create_study, evaluated, load_control, load_run_study

TEACHER = Architecture(4, 4, 32, 64, "gelu")
SPACE = SearchSpace(TEACHER, derive_choices(TEACHER))
TABLE = TableScorer({c.key: {1.0: 1 / c.architecture.hidden_size} for c in SPACE.candidates})


def evaluate(candidate: Candidate, budget: Budget, costs: Costs | None = None) -> Evaluation:
    """From a table: nothing is trained."""
    return evaluate_candidate(
        candidate,
        budget,
        scorer=TABLE,
        measure=lambda c: Costs(c.architecture.hidden_size, 1, 1.0, 0.0, 2.0, 2.0),
        limits=Limits(),
        reward=lambda score, costs: score,
    )


class Odd(RandomSampler):
    """Does something odd before it proposes for the first time."""

    def __init__(self, act: Callable[[optuna.Study, int], None]) -> None:
        super().__init__(0)
        self._act = act

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        self._act(study, trial.number)


def search(folder: Path, sampler: RandomSampler, space: SearchSpace = SPACE, n: int = 2) -> None:
    study = create_study(f"sqlite:///{folder}/study.db", "s", sampler, "reward", {})
    optimize(study, space, evaluate, Settings(trials=n), folder, lambda *_, **__: None)


def test_a_trial_that_others_took_for_dead_while_it_was_asked_for_ends_nobody(
    tmp_path: Path,
) -> None:
    def fail(study: optuna.Study, number: int) -> None:
        if number == 0:
            study.tell(0, state=TrialState.FAIL)

    search(tmp_path, Odd(fail))
    trials = load_run_study(f"sqlite:///{tmp_path}/study.db", "s", tmp_path).trials
    assert [t.state for t in trials] == [TrialState.FAIL, *[TrialState.COMPLETE] * 2]


def test_an_error_of_the_sampler_is_its_own(tmp_path: Path) -> None:
    def explode(study: optuna.Study, number: int) -> None:
        raise ValueError("too few points for a Gaussian process")

    with pytest.raises(ValueError, match="too few points"):
        search(tmp_path, Odd(explode))


def test_another_space_is_named_by_what_differs(tmp_path: Path) -> None:
    search(tmp_path, RandomSampler(0))
    other = SearchSpace(TEACHER, {**SPACE.choices, "hidden_size": (16, 32)})
    told = r"study 's' searches another space: its hidden_size is one of .*, not of \(16, 32\)"
    with pytest.raises(KdnasError, match=told):
        search(tmp_path, RandomSampler(0), other, 4)


def test_an_enqueued_value_outside_the_space_fails_alone_beside_a_trial_just_asked_for(
    tmp_path: Path,
) -> None:
    study = create_study(f"sqlite:///{tmp_path}/study.db", "s", RandomSampler(0), "reward", {})
    asked = study.ask()  # by another worker, which has not signed it yet
    study.enqueue_trial({"hidden_size": 7})
    study.enqueue_trial({"hidden_size": 16})
    optimize_until_done = pytest.MonkeyPatch()
    with optimize_until_done.context() as patch:
        patch.setattr("kdnas.study.workers.UNSIGNED_SECONDS", 0.2)
        patch.setattr("kdnas.study.optimize.POLL_SECONDS", 0.1)
        study.tell(asked, state=TrialState.FAIL)
        optimize(study, SPACE, evaluate, Settings(trials=2), tmp_path, lambda *_, **__: None)
    states = [t.state for t in study.trials]
    assert states[1] == TrialState.FAIL and states.count(TrialState.COMPLETE) == 2


def test_random_search_is_read_without_running_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    search(tmp_path, RandomSampler(0))
    assert load_control(url, "s", "random") is None
    study = load_run_study(url, "s", tmp_path)
    control = create_study(url, "s-random", RandomSampler(0), "reward", {})
    control.enqueue_trial(evaluated(study)[0].params)
    half = Settings(trials=1)
    optimize(control, SPACE, evaluate, half, tmp_path, lambda *_, **__: None, study)
    found = load_control(url, "s", "random")
    assert found is not None and len(found.trials) == 1
    assert found.trials[0].user_attrs[BORROWED] == evaluated(study)[0].number
    assert found.trials[0].user_attrs["score"] == evaluated(study)[0].user_attrs["score"]


def test_a_worker_takes_its_share_of_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert share_threads(Settings(), tmp_path).threads is None  # no study yet
    study = create_study(f"sqlite:///{tmp_path}/study.db", "kdnas", None, "reward", {})
    for name in (process_name(), "elsewhere:1:1"):
        study.ask(SPACE.distributions).set_user_attr(WORKER, name)
    assert share_threads(Settings(), tmp_path).threads is None
    monkeypatch.setattr(join, "workers_here", lambda study: 2)
    assert share_threads(Settings(threads=5), tmp_path).threads == 5
    assert capsys.readouterr().out == ""
    assert share_threads(Settings(), tmp_path).threads == 2
    assert "takes 2 of 8 threads" in capsys.readouterr().out
