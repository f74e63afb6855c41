"""Which turn of a search a trial is."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from support.tiny import small_config

from kdnas.space import SearchSpace
from kdnas.study.attributes import ERROR, GIVEN_BACK, RETRY_OF
from kdnas.study.samplers import make_sampler
from kdnas.study.samplers._history import Turns

SPACE = SearchSpace.from_teacher(small_config(), "teacher", {})


def test_what_came_to_nothing_takes_no_turn() -> None:
    study = optuna.create_study()
    attributes: list[dict[str, Any]] = [
        {ERROR: "diverged"},
        {},
        {GIVEN_BACK: "another"},
        {RETRY_OF: 1},
        {},
    ]
    failed = (0, 1, 2)
    for number, attrs in enumerate(attributes):
        state = TrialState.FAIL if number in failed else TrialState.COMPLETE
        value = None if number in failed else 0.0
        study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=attrs))
    turns = Turns(study.trials)
    assert turns.lost == {1, 2}  # the first failed by itself
    assert [turns.of(number) for number in range(6)] == [0, 1, 1, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        *((name, True) for name in ("lstm", "tpe", "random", "qmc")),
        *((name, False) for name in ("lstm", "tpe", "random")),  # QMC's sequence goes on
    ],
)
def test_an_interrupted_search_draws_what_a_whole_one_does(name: str, drawn: bool) -> None:
    def search(interrupted: int | None) -> list[dict[str, Any]]:
        study = optuna.create_study(direction="maximize", sampler=make_sampler(name, SPACE, 3, 9))
        found = []
        while len(found) < 9:
            trial = study.ask(SPACE.distributions)
            if len(found) == interrupted:
                interrupted = None
                study.tell(trial, state=TrialState.FAIL)
                if drawn:  # a process that is killed earlier leaves nothing to try again
                    study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
                continue
            found.append(trial.params)
            study.tell(trial, trial.params["hidden_size"] / trial.params["num_hidden_layers"])
        return found

    assert search(interrupted=5) == search(interrupted=None)
