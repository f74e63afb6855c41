"""Candidates that fail: which are counted, and when the search gives up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study.optimize import optimize
from kdnas.study.samplers import make_sampler
from kdnas.study.study import evaluated

TEACHER = Architecture(4, 4, 32, 64, "gelu")
SPACE = SearchSpace(TEACHER, derive_choices(TEACHER))
ONE, TWO, THREE, WORKS = (Candidate(a) for a in SPACE.architectures[:4])


def searched(folder: Path, queue: list[Candidate]) -> int:
    """Tries a queue, of which all but one candidate fail; returns how many succeeded."""
    study = optuna.create_study(sampler=make_sampler("random", SPACE, 0, 9), direction="maximize")
    for candidate in queue:
        study.enqueue_trial(SPACE.params(candidate))

    def evaluate(candidate: Candidate, budget: Budget, costs: Any = None) -> Evaluation:
        if candidate in (ONE, TWO, THREE):
            raise RuntimeError("out of memory")
        return Evaluation(Costs(1, 1, 1.0, 0.0, 2.0, 2.0), {}, Score(0.5), 0.5, 0.1)

    settings = Settings(trials=1, task="mrpc")
    optimize(study, SPACE, evaluate, settings, folder, lambda *_, **__: None)
    return len(evaluated(study))


def test_a_candidate_that_fails_twice_counts_once(tmp_path: Path) -> None:
    assert searched(tmp_path, [ONE, ONE, TWO, WORKS]) == 1
    with pytest.raises(KdnasError, match="3 candidates in a row failed, the last with RuntimeErr"):
        searched(tmp_path, [ONE, TWO, ONE, THREE, WORKS])
