"""What a study tries after a pick that breaks a limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, Candidate, Pruning, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study.attributes import DEATHS, FIXED_ATTR, INFEASIBLE, PICKED, RETRY_OF
from kdnas.study.picks import queue_narrower, queue_pick
from kdnas.study.study import evaluated
from kdnas.study.workers import retry

TEACHER = Architecture(6, 12, 384, 1536, "gelu")
PICK = Candidate(Architecture(3, 12, 336, 1536, "gelu"), "logits")


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(TEACHER, derive_choices(TEACHER), recipes=["default", "logits"])


def after(space: SearchSpace, pick: Candidate, **violations: float) -> list[Candidate]:
    """What is queued after a pick broke its limits."""
    study = optuna.create_study()
    queue_narrower(study, space, pick, violations)
    assert all(t.user_attrs[PICKED] for t in study.trials)
    return [space.candidate(t.system_attrs[FIXED_ATTR]) for t in study.trials]


def test_a_narrower_one_of_its_depth_follows(space: SearchSpace) -> None:
    (next_one,) = after(space, PICK, speedup=0.01, params=-0.5)
    assert next_one == replace(PICK, architecture=Architecture(3, 12, 288, 1152, "gelu"))
    (far,) = after(space, PICK, speedup=1.0)
    assert far.architecture == Architecture(3, 12, 144, 768, "gelu")


def test_the_largest_violation_decides(space: SearchSpace) -> None:
    assert after(space, PICK, speedup=0.01, params=1.0) == after(space, PICK, params=1.0)


def test_nothing_follows_where_nothing_is_narrower(space: SearchSpace) -> None:
    narrow = replace(PICK, architecture=replace(PICK.architecture, hidden_size=48))
    assert after(space, narrow, speedup=0.1) == []
    assert after(space, PICK, speedup=100.0) == []
    assert after(space, Candidate(TEACHER, pruning=Pruning("ziplm", 0.5)), speedup=0.1) == []
    assert after(space, Candidate(space.statics[0], "static"), speedup=0.1) == []


def test_a_candidate_is_queued_once(space: SearchSpace) -> None:
    study = optuna.create_study()
    for _ in range(2):
        queue_narrower(study, space, PICK, {"speedup": 0.01})
    assert len(study.trials) == 1


def test_a_pick_whose_worker_died_is_still_one(space: SearchSpace) -> None:
    study = optuna.create_study()
    queue_pick(study, space, PICK)
    trial = study.ask(space.distributions)
    retry(study, trial.number, died=True)
    assert study.trials[1].user_attrs == {PICKED: True, DEATHS: 1, RETRY_OF: 0}


def test_a_search_goes_on_with_a_narrower_pick(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    given = {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder, "trials": 1}
    free = Stepwise(Run.create(Settings(**given, **QUICK, out=tmp_path / "run")))
    widest = Candidate(free.space.largest)
    limit = free.meter.of_candidate(widest).params - 1
    settings = free.settings.model_copy(update={"max_params": limit, "warm_start": False})
    limited = Stepwise(Run(free.run.folder, settings))
    queue_pick(limited.open_study(), free.space, widest)
    limited.search()
    first, second = limited.open_study().trials
    assert first.user_attrs[INFEASIBLE] and [second] == evaluated(limited.open_study())
    assert second.params["num_hidden_layers"] == widest.architecture.num_hidden_layers
    assert second.params["hidden_size"] < widest.architecture.hidden_size
