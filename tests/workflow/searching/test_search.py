"""What a search says of its own scores."""

from __future__ import annotations

import optuna
import pytest

from kdnas.config import Settings
from kdnas.workflow.searching.search import too_short


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
