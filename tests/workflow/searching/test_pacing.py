"""When a search with a budget ends, written to a storage that may be gone for a moment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.study import Study

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.runs.time_budget import TimeBudget
from kdnas.space import Architecture, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study import storage
from kdnas.study.deadline import Deadline
from kdnas.study.optimize import expected_trials
from kdnas.study.study import create_study
from kdnas.workflow.searching import pacing

SHAPE = Architecture(2, 2, 16, 32, "gelu")
SPACE = SearchSpace(SHAPE, derive_choices(SHAPE))


@pytest.fixture
def context(tmp_path: Path) -> Any:
    url = f"sqlite:///{tmp_path}/study.db"
    settings = Settings(budget="1h", task="mrpc", out=tmp_path / "run", storage=url)
    run = Run.create(settings)
    budget = TimeBudget(3600.0, lambda: 5.0, trial=1.0)
    return SimpleNamespace(settings=run.settings, run=run, time=budget)


@pytest.fixture
def study(context: Any, monkeypatch: pytest.MonkeyPatch) -> Study:
    """One whose every other write fails, though the storage is back a moment later."""
    settings = context.settings
    made = create_study(settings.storage, settings.study, None, "reward", {})
    write, asked = made._storage.set_study_user_attr, list[str]()

    def shaky(study_id: int, key: str, value: Any) -> None:
        asked.append(key)
        if len(asked) % 2:
            raise StorageInternalError("server closed the connection unexpectedly")
        write(study_id, key, value)

    monkeypatch.setattr(made._storage, "set_study_user_attr", shaky)
    return made


def test_the_end_of_a_search_is_written_once_the_storage_is_back(
    context: Any,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(storage, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(pacing, "EVERY_SECONDS", 0.0)
    tick = pacing.keep_time(context, SPACE, study, 1, control=False)
    first = Deadline.of(study)
    assert capsys.readouterr().out.count("waiting for it") == 1
    tick()
    now = Deadline.of(study)
    assert first and now and now.until > first.until
    assert capsys.readouterr().out.count("waiting for it") == 1


def test_a_run_that_goes_on_without_a_budget_has_no_end_by_time(context: Any) -> None:
    settings = context.settings
    study = create_study(settings.storage, settings.study, None, "reward", {})
    Deadline(1.0, 7, 5.0).write(study)
    context.time = TimeBudget()  # as a worker's, or without --budget
    pacing.keep_time(context, SPACE, study, 1, control=False)
    assert Deadline.of(study) == Deadline(1.0, 7, 5.0), "a worker leaves the end of its search"
    context.settings = settings.model_copy(update={"budget": None, "trials": 20})
    pacing.keep_time(context, SPACE, study, 1, control=False)
    assert Deadline.of(study) is None and expected_trials(study, 20) == 20
