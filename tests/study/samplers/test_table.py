"""Every sampler by name, through a real study on disk."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from kdnas.errors import KdnasError
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study.attributes import ERROR, RUNG, RUNG_VALUES
from kdnas.study.samplers import SAMPLERS, make_sampler
from kdnas.study.samplers.distinct import taken_candidates

TEACHER = Architecture(4, 4, 32, 64, "gelu")
SPACE = SearchSpace(TEACHER, derive_choices(TEACHER))
TINY = SearchSpace(
    TEACHER,
    {
        "num_hidden_layers": (1, 2),
        "num_attention_heads": (2, 4),
        "hidden_size": (14, 16),
        "intermediate_size": (8,),
        "hidden_act": ("gelu",),
    },
)


def objective(params: dict[str, int]) -> float:
    return params["num_hidden_layers"] * 10 + params["hidden_size"] - params["intermediate_size"]


def run(name: str, space: SearchSpace, trials: int, url: str, *, stops: int = 1) -> list[dict]:
    for _ in range(stops):
        sampler = make_sampler(name, space, seed=7, trials=trials)
        study = optuna.create_study(
            storage=url, study_name="s", sampler=sampler, direction="maximize", load_if_exists=True
        )
        for _ in range(trials // stops):
            trial = study.ask(space.distributions)
            study.tell(trial, objective(trial.params))
    return [t.params for t in study.trials]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_valid_and_never_twice_until_the_space_is_spent(name: str, tmp_path: Path) -> None:
    params = run(name, TINY, 6, f"sqlite:///{tmp_path}/a.db")
    tried = [Architecture.from_params(p) for p in params]
    assert set(tried) == set(TINY.architectures)
    assert len(tried) == len(TINY.architectures) == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_resumed_study_draws_what_an_unbroken_one_draws(name: str, tmp_path: Path) -> None:
    unbroken = run(name, SPACE, 9, f"sqlite:///{tmp_path}/a.db")
    resumed = run(name, SPACE, 9, f"sqlite:///{tmp_path}/b.db", stops=3)
    assert resumed == unbroken
    assert len({Architecture.from_params(p) for p in resumed}) == 9


def test_a_spent_space_repeats_rather_than_fails(tmp_path: Path) -> None:
    params = run("tpe", TINY, 8, f"sqlite:///{tmp_path}/a.db")
    assert all(TINY.is_valid(p) for p in params)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(KdnasError, match=r"unknown --sampler 'tpr'; did you mean 'tpe'\?$"):
        make_sampler("tpr", SPACE, 0, 10)
    with pytest.raises(KdnasError) as told:
        make_sampler("foo", SPACE, 0, 10)
    assert str(told.value).count("known: gp, lstm") == 1


@pytest.mark.parametrize("name", ["lstm", "tpe"])
def test_an_enqueued_architecture_is_taken(name: str) -> None:
    sampler = make_sampler(name, TINY, seed=7, trials=6)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    running = study.ask()  # its parameters are asked for once the others are enqueued
    left = TINY.architectures[3]
    for architecture in set(TINY.architectures) - {left}:
        study.enqueue_trial(dict(architecture.params))
    assert taken_candidates(study, TINY) == set(TINY.candidates) - {Candidate(left)}
    params = {name: running._suggest(name, d) for name, d in TINY.distributions.items()}
    assert Architecture.from_params(params) == left


@pytest.mark.parametrize("name", ["lstm", "tpe", "random"])
def test_what_failed_once_is_tried_again_last(name: str) -> None:
    sampler = make_sampler(name, TINY, seed=7, trials=12)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for _ in range(12):
        trial = study.ask(TINY.distributions)
        trial.set_user_attr(ERROR, "RuntimeError: out of memory")
        study.tell(trial, state=TrialState.FAIL)
    tried = [Architecture.from_params(t.params) for t in study.trials]
    for turn in (tried[:6], tried[6:]):
        assert set(turn) == set(TINY.architectures)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_infeasible_and_stopped_trials_are_taken_as_they_come(name: str) -> None:
    sampler = make_sampler(name, SPACE, seed=7, trials=12)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
    for number in range(12):
        trial = study.ask(SPACE.distributions)
        values = [float(trial.params["num_hidden_layers"]), float(trial.params["hidden_size"])]
        trial.set_constraint("speedup", 20.0 - trial.params["hidden_size"])
        if trial.params["hidden_size"] < 20:
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 2:
            trial.set_user_attr(RUNG, 1 / 3)
            trial.set_user_attr(RUNG_VALUES, values)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, values)
    assert len({Architecture.from_params(t.params) for t in study.trials}) == 12
