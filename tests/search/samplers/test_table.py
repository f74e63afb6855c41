"""Every sampler by name, through a real study on disk."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from kdnas.errors import KdnasError
from kdnas.search.samplers import SAMPLERS, make_sampler
from kdnas.space import Architecture, SearchSpace
from kdnas.space.derive import derive_choices

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


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_valid_and_never_twice_until_the_space_is_spent(name: str, tmp_path: Path) -> None:
    params = run(name, TINY, 6, f"sqlite:///{tmp_path}/a.db")
    tried = [Architecture.from_params(p) for p in params]
    assert set(tried) == set(TINY.architectures)
    assert len(tried) == len(TINY.architectures) == 6


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
    with pytest.raises(KdnasError, match="unknown sampler 'tpr'; did you mean 'tpe'"):
        make_sampler("tpr", SPACE, 0, 10)
