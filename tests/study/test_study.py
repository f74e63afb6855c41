from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from support.processes import Child

from kdnas.errors import KdnasError
from kdnas.runtime import process
from kdnas.runtime.process import process_name
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.families import FIELDS
from kdnas.study.attributes import WORKER
from kdnas.study.samplers.distinct import taken_candidates
from kdnas.study.study import create_study, evaluated, load_run_study, load_study
from kdnas.study.winner import choose_winner, pareto_front, possible_winners
from kdnas.study.workers import MAX_DEATHS, WorkerMonitor

SPACE = {name: optuna.distributions.CategoricalDistribution((1, 2, 3)) for name in FIELDS}
IDENTITY = {"teacher": "a", "task": "b"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def new_study(url: str, **identity: str) -> optuna.Study:
    return create_study(url, "s", None, "reward", {**IDENTITY, **identity})


@pytest.mark.slow
def test_trials_of_dead_processes_are_failed_and_queued_again(url: str) -> None:
    study = new_study(url)
    child, zombie = Child(say_name), subprocess.Popen(["sleep", "600"])
    child.wait()
    host, pid, _ = process_name().rsplit(":", 2)
    never_buried = f"{host}:{zombie.pid}:{process._start(zombie.pid)}"
    assert process.lives(never_buried)
    zombie.kill()
    owners = {
        "dead": child.output,
        "reused pid": f"{host}:{pid}:12345",
        "never buried": never_buried,
        "alive": process_name(),
        "elsewhere": f"other-{child.output}",
        "another pod of this name": f"{host.partition(':')[0]}:0-1:{pid}:12345",
    }
    while process.lives(never_buried):
        time.sleep(0.01)
    trials = {}
    for name, owner in owners.items():
        trials[name] = study.ask(SPACE)
        trials[name].set_user_attr(WORKER, owner)
    assert WorkerMonitor(study, 60).release_dead() == 3
    zombie.wait()
    states = {name: study.trials[t.number].state for name, t in trials.items()}
    assert states["dead"] == states["reused pid"] == states["never buried"] == TrialState.FAIL
    assert states["alive"] == states["elsewhere"] == TrialState.RUNNING
    assert states["another pod of this name"] == TrialState.RUNNING  # its heartbeat decides
    assert study.get_trials(states=(TrialState.RUNNING,))
    retried = study.ask(SPACE)
    assert retried.params == trials["dead"].params
    assert retried.user_attrs["retry_of"] == trials["dead"].number


@pytest.mark.slow
def test_a_student_that_kills_its_workers_is_given_up(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study, child = new_study(url), Child(say_name)
    child.wait()
    deadly = study.ask(SPACE)
    candidate = Candidate.from_params(deadly.params)
    for death in range(MAX_DEATHS):
        trial = deadly if death == 0 else study.ask(SPACE)
        assert trial.params == deadly.params
        trial.set_user_attr(WORKER, child.output)
        assert WorkerMonitor(study, 60).release_dead() == (death < MAX_DEATHS - 1)
    last = MAX_DEATHS - 1
    assert f"trial {last}: given up" in capsys.readouterr().out
    assert (
        study.trials[last].user_attrs["error"]
        == f"{MAX_DEATHS} workers died while they worked on it"
    )
    assert not study.get_trials(states=(TrialState.WAITING, TrialState.RUNNING))
    one = (1, 2, 3)
    space = SearchSpace(Architecture(*(3,) * 4, "gelu"), dict.fromkeys(FIELDS, one))
    assert candidate in taken_candidates(study, space)


def test_a_student_that_was_scored_on_a_rung_keeps_the_limits(url: str) -> None:
    study = new_study(url)
    for known in ({"infeasible": True}, {"loss": 0.5}):
        trial = study.ask(SPACE)
        for name, value in {"speedup": 1.5, "params": 7, **known}.items():
            trial.set_user_attr(name, value)
        told = "no finished trial yet" if "loss" in known else "none of the 1 students tried keeps"
        study.tell(trial, state=TrialState.PRUNED)
        with pytest.raises(KdnasError, match=told):
            choose_winner(study)


def test_a_trial_that_was_interrupted_often_is_not_given_up(url: str) -> None:
    study = new_study(url)
    for _ in range(2 * MAX_DEATHS):
        trial = study.ask(SPACE)
        WorkerMonitor(study, 60).release(trial.number)
    assert len({str(t.params) for t in study.trials[:-1]}) == 1
    assert study.trials[-1].state == TrialState.WAITING


def say_name() -> None:
    print(process_name(), end="")


def test_another_search_of_the_same_name_is_refused(url: str) -> None:
    new_study(url)
    with pytest.raises(KdnasError, match="its teacher is 'a', not 'z'"):
        new_study(url, teacher="z")


def test_a_damaged_database_is_named(tmp_path: Path, url: str) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(KdnasError, match=r"study\.db: file is not a database"):
        new_study(url)


def test_a_password_never_shows(tmp_path: Path) -> None:
    with pytest.raises(KdnasError) as caught:
        new_study("postgresql+nodriver://me:secret@localhost/x")
    assert "secret" not in str(caught.value)


def test_a_missing_study_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(KdnasError, match="has no study yet"):
        load_run_study(url, "s", tmp_path)


def finished_study(url: str) -> optuna.Study:
    study = new_study(url)
    rows = [(0.5, 1.0, 8.0, 0.6), (0.3, 2.0, 4.0, 0.7), (0.4, 3.0, 2.7, 0.5), (0.1, 4.0, 2.0, 0.65)]
    for loss, latency, speedup, reward in rows:
        trial = study.ask()
        for name, value in (
            ("loss", loss),
            ("latency_ms", latency),
            ("speedup", speedup),
            ("reward", reward),
        ):
            trial.set_user_attr(name, value)
        study.tell(trial, reward)
    return study


def test_winner_front_and_what_is_kept(url: str) -> None:
    study = finished_study(url)
    assert choose_winner(study).number == 1
    assert choose_winner(study, number=2).number == 2
    assert choose_winner(study, speedup=2.5).number == 1
    assert choose_winner(study, speedup=1.9).number == 3
    assert choose_winner(study, speedup=2.0).number == 1  # the other is not so fast for certain
    assert choose_winner(study, speedup=7.9).number == 0  # nobody is
    assert [t.number for t in pareto_front(evaluated(study))] == [0, 1, 3]
    assert possible_winners(study) == {0, 1, 3}
    with pytest.raises(KdnasError, match="the fastest is 8.00 times"):
        choose_winner(study, speedup=9)
    with pytest.raises(KdnasError, match="trial 9 is not a finished trial"):
        choose_winner(study, number=9)


def test_a_study_without_trials_has_no_winner(url: str) -> None:
    with pytest.raises(KdnasError, match="no finished trial"):
        choose_winner(new_study(url))


def test_looking_for_a_study_changes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    for statement, problem in {"": "is empty", "create table notes (id)": "no Optuna"}.items():
        with closing(sqlite3.connect(file)) as base, base:
            base.execute(statement)
        before = file.read_bytes() if file.exists() else file.touch()
        with pytest.raises(KdnasError, match=f"no study 's': .*{problem}"):
            load_study(f"sqlite:///{file}", "s")
        assert file.read_bytes() == (before or b"")
