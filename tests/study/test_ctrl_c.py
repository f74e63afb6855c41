"""Ctrl-C while a storage works."""

from __future__ import annotations

import signal
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from kdnas.space.families import FIELDS
from kdnas.study.study import create_study

SPACE = {name: optuna.distributions.CategoricalDistribution((1, 2, 3)) for name in FIELDS}


pytestmark = pytest.mark.usefixtures("hearing_ctrl_c")


@pytest.mark.parametrize("table", ["trials", "trial_params", "trial_values"])
def test_a_transaction_is_ended_before_it_counts(tmp_path: Path, table: str) -> None:
    file = tmp_path / "study.db"
    study = create_study(f"sqlite:///{file}", "s", None, "reward", {})
    study.tell(study.ask(SPACE), 0.0)
    pressed = []

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
    def press(_: object, __: object, said: str, *___: object) -> None:
        if said.startswith(f"INSERT INTO {table} ") and not pressed:
            pressed.append(said)
            signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            study.tell(study.ask(SPACE), 1.0)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "after_cursor_execute", press)
    assert pressed
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0})
    with engine.begin() as another:  # nothing is locked, and what was begun is there
        another.execute(sqlalchemy.text("UPDATE trial_values SET value = 3"))
        count = another.execute(sqlalchemy.text("SELECT count(*) FROM trials")).scalar_one()
        ended = another.execute(sqlalchemy.text("SELECT count(*) FROM trial_values")).scalar_one()
    assert count == 2
    assert ended == 1 + (table == "trial_values")


def test_a_trial_is_told_of_on_the_way_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = create_study(url, "s", None, "reward", {})
    trial = study.ask(SPACE)
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        study.tell(trial, state=TrialState.FAIL)
    (told,) = optuna.load_study(study_name="s", storage=url).trials
    assert told.state == TrialState.FAIL
