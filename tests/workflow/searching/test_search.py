"""What a search says of its own scores."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Score
from kdnas.study.attributes import CONTINUES, RUNG, RUNG_VALUES, UNITS
from kdnas.study.study import evaluated
from kdnas.workflow.preparing.trials_spent import trials_left
from kdnas.workflow.searching import search as of_searches
from kdnas.workflow.searching.search import open_run_study, random_search, search, too_short


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([(0.5, 0.4), (0.6, 0.5), (0.3, 0.4)], ""),
        ([(0.5, 1.9), (0.7, 0.8), (0.3, 0.2)], "2 of 3 students are worse after mini-KD"),
        ([(0.5, 0.6), (0.6, 0.5)], ""),
        ([], ""),
    ],
)
def test_a_training_that_makes_most_students_worse_is_said_to_be_too_short(
    losses: list[tuple[float, float]], told: str
) -> None:
    study = optuna.create_study()
    for before, after in losses:
        found = {"initial_loss": before, "loss": after}
        study.add_trial(optuna.trial.create_trial(value=after, user_attrs=found))
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs={"loss": 1.0}))
    said = too_short(study.trials, Settings())
    assert not told or "--mini-epochs (now 3) or --proxy-fraction (now 0.3)" in said
    assert "proxy" not in too_short(study.trials, Settings(proxy_fraction=1.0))
    assert said.startswith(told) if told else said == ""


def test_a_space_that_was_tried_is_not_searched_again(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"num_hidden_layers": [1, 2], "hidden_size": [16], "hidden_act": ["gelu"]}
    few |= {"num_attention_heads": [2], "intermediate_size": [32]}
    step = Stepwise(make_run(trials=12, space=few, sampler="tpe", random_control="search"))
    meter = SimpleNamespace(teacher_params=1000)
    prepared: Any = SimpleNamespace(context=step.context, inputs=step.inputs, meter=meter)
    searched = list[bool]()

    def optimized(_: Any, study: Any, *__: Any, beside: Any = None) -> None:
        searched.append(beside is not None)
        known = {"params": 9, "macs": 9, "speedup": 2.0, "loss": 0.1, "reward": 1.0, UNITS: 1}
        given: dict[str, Any] = {"distributions": step.space.distributions, "user_attrs": known}
        for candidate in step.space.candidates:
            params = step.space.params(candidate)
            study.add_trial(create_trial(value=1.0, params=params, **given))

    monkeypatch.setattr(of_searches, "_check_same", lambda *_: None)
    monkeypatch.setattr(of_searches, "warm_start", lambda *_: None)
    monkeypatch.setattr(of_searches, "_first", lambda *_: [])
    monkeypatch.setattr(of_searches, "_optimize", optimized)
    for _ in range(2):  # as it begins, and as it goes on
        study = open_run_study(step.context, step.space)
        search(prepared, study)
        random = random_search(prepared, study)
        assert random and len(random.trials) == 2
        assert searched == [False, True]


@pytest.mark.parametrize("begun", [False, True])
def test_a_search_that_goes_on_takes_one_candidate_to_the_end_whatever_was_spent(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    step = Stepwise(make_run(trials=2, rungs=2, sampler="tpe"))
    study, space = step.open_study(), step.space
    costs = Costs(9, 8, 1.0, 0.0, 2.0, 2.0)
    known = {**costs.numbers, "seconds": 1.0, "loss": 0.5, RUNG: 1 / 3, UNITS: 1}
    for i, candidate in enumerate(space.candidates[:6]):
        trial = create_trial(
            state=TrialState.PRUNED,
            params=space.params(candidate),
            distributions=space.distributions,
            user_attrs={**known, "reward": i / 10, RUNG_VALUES: [i / 10]},
        )
        study.add_trial(trial)
    if begun:  # as Ctrl-C leaves the training of the best to the end
        study.enqueue_trial(study.trials[5].params, user_attrs={CONTINUES: 5, UNITS: 2})
    assert trials_left(step.context, space=space) == pytest.approx(2 / 3)

    def evaluate(*_: object) -> Evaluation:
        return Evaluation(costs, {}, Score(0.9), 0.9, 1.0)

    monkeypatch.setattr(of_searches, "_check_same", lambda *_: None)
    given = {"context": step.context, "inputs": step.inputs, "evaluate": evaluate}
    prepared: Any = SimpleNamespace(**given, meter=SimpleNamespace(teacher_params=1000))
    search(prepared, study)
    [whole] = evaluated(study)
    assert space.candidate(whole.params) == space.candidates[5]
    assert trials_left(step.context, space=space) == 0
