"""What the run's own student is compared with."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from kdnas.config import Settings
from kdnas.space import Architecture, Candidate
from kdnas.workflow.distilling.train_students import best_of_random


def test_random_search_has_the_limit_that_the_student_was_chosen_under(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = optuna.create_study(direction="maximize")
    shapes = {fast: Architecture(6 // fast, 2, 16, 32, "gelu") for fast in (2, 6)}
    for fast, shape in shapes.items():
        found = {"loss": fast / 10, "reward": 1 - fast / 10, "speedup": float(fast)}
        kinds = {name: CategoricalDistribution([value]) for name, value in shape.params.items()}
        trial = optuna.trial.create_trial(
            value=found["reward"], params=shape.params, distributions=kinds, user_attrs=found
        )
        study.add_trial(trial)
    assert (
        best_of_random(study, Settings(), None)
        == best_of_random(study, Settings(), 1.5)
        == Candidate(shapes[2])
    )
    assert best_of_random(study, Settings(), 4) == Candidate(shapes[6])
    assert best_of_random(study, Settings(), 8) is None
    assert "none of its students is 8 times as fast" in capsys.readouterr().out
