"""What a worker's death costs: its candidate's work, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
from many import MakeRun, check_complete, study_of, working
from optuna.trial import TrialState
from servers import PostgreSQL, grpc_proxy
from support.processes import Child, command, kdnas_child
from support.stepwise import Stepwise
from transformers import AutoModelForSequenceClassification

from kdnas.files.cache import cache_folder
from kdnas.recipes import training
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture
from kdnas.study import optimize, storage, workers
from kdnas.study.attributes import RETRY_OF
from kdnas.study.winner import choose_winner


def dies(folder: Path, where: str) -> None:
    """Works on a run, to its student, and is killed where it first calls something."""
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, import_module(module))
    setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    pipeline = Stepwise(Run.open(folder))
    pipeline.search()
    distil(pipeline)


def distil(pipeline: Stepwise) -> Path:
    winner = choose_winner(pipeline.open_study())
    home = pipeline.run.folder / "student"
    pipeline.distil(Architecture.from_params(winner.params), winner.number, home)
    return home


def killed(run: Run, where: str) -> None:
    child = Child(dies, run.folder, where)
    assert child.wait() == -signal.SIGKILL, child.output


def elsewhere(name: str, *arguments: str) -> None:
    """A command on a machine of another name, where lost storages are asked for again soon."""
    socket.gethostname = lambda: name
    storage.RETRY_SECONDS = 0.3
    command(*arguments)


@pytest.mark.slow
def test_two_workers_start_at_the_same_instant_on_an_empty_run(make_run: MakeRun) -> None:
    run = make_run(trials=6)
    children = [kdnas_child("worker", run.folder) for _ in range(2)]
    for child in children:
        assert child.wait() == 0, child.output
    check_complete(run, 6)


@pytest.mark.parametrize(
    ("where", "known"),
    [
        # It has asked, and nobody knows who it was.
        pytest.param("kdnas.study.optimize:heartbeat", set(), marks=pytest.mark.slow),
        ("kdnas.study.optimize:claim", {"worker"}),
        pytest.param(
            "kdnas.scoring.mini_kd:MiniKD._scored", {"worker", "begun"}, marks=pytest.mark.slow
        ),
        ("kdnas.study.results:TrialWriter._tell", {"worker", "begun", "reward"}),
    ],
    ids=["before signing", "before beginning", "before training", "while telling"],
)
def test_a_worker_killed_in_a_trial_costs_its_candidate(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, where: str, known: set[str]
) -> None:
    monkeypatch.setattr(workers, "UNSIGNED_SECONDS", 0.5)
    monkeypatch.setattr(optimize, "POLL_SECONDS", 0.1)
    run = make_run(trials=2)
    killed(run, where)
    (lost,) = study_of(run).trials
    assert lost.state == TrialState.RUNNING
    assert {"worker", "begun", "reward"} & lost.user_attrs.keys() == known
    Stepwise(run).search()
    trials = check_complete(run, 2)
    again = [t for t in trials if t.user_attrs.get(RETRY_OF) == lost.number]
    assert len(again) == 1 and again[0].params == lost.params and len(trials) == 3


@pytest.mark.slow
def test_a_worker_killed_while_it_writes_the_store(
    make_run: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    run = make_run(trials=2)
    killed(run, "kdnas.teachers.store:_Writer.finish")
    (half,) = cache_folder().glob("signal/*/.*.partial")
    assert not (half / "kdnas.json").exists()
    Stepwise(run).search()
    assert not list(cache_folder().glob("signal/*/.*.partial"))
    assert "fine-tuning" not in capsys.readouterr().out
    check_complete(run, 2)


@pytest.mark.slow
def test_a_search_killed_while_it_exports_its_student_does_not_train_it_again(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(trials=2)
    killed(run, "kdnas.students.checkpoint:write_tokenizer")
    check_complete(run, 2)
    (half,) = run.folder.glob(".student.*.partial")
    assert (half / "model.safetensors").exists() and not (run.folder / "student").exists()
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("it trains again"))
    student = distil(Stepwise(run))
    assert AutoModelForSequenceClassification.from_pretrained(student)
    assert not half.exists() and not list((run.folder / "work").rglob("*.pt"))
    check_complete(run, 2)


@pytest.mark.slow
def test_a_worker_killed_in_mid_training_costs_its_candidate(
    make_run: MakeRun,
    request: pytest.FixtureRequest,
    teacher_folder: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The search on a database, its worker behind the proxy."""
    try:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.database()
    except pytest.skip.Exception:
        url = f"sqlite:///{tmp_path}/shared.db"
    run = make_run(trials=2, storage=url, study="shared", mini_epochs=20)
    Stepwise(run).open_study()
    with grpc_proxy(url) as proxy, monkeypatch.context() as patch:
        patch.setenv("KDNAS_CACHE", str(tmp_path / "cache of its own"))
        places = ("--teacher", teacher_folder, "--data-dir", data_folder, "--threads", 1)
        worker = kdnas_child(
            *("worker", "--storage", proxy, "--study", "shared", "--out", tmp_path / "second"),
            *(*places, "--device", "cpu"),
        )
        worker.wait_until(working(run, worker))
        worker.kill()
        worker.wait()
    done = kdnas_child("worker", run.folder)
    assert done.wait() == 0, done.output
    assert "1 trial(s) of a worker that died will be tried again" in done.output
    trials = check_complete(run, 2)
    (lost,) = (t for t in trials if t.state == TrialState.FAIL)
    assert [t.user_attrs.get(RETRY_OF) for t in trials].count(lost.number) == 1


@pytest.mark.slow
def test_ctrl_c_twice_leaves_a_run_that_goes_on(make_run: MakeRun) -> None:
    run = make_run(trials=2, mini_epochs=20)
    worker = kdnas_child("worker", run.folder)
    worker.wait_until(working(run, worker))
    for _ in range(2):
        worker.kill(signal.SIGINT)
        time.sleep(0.05)
    assert worker.wait() in (130, -signal.SIGINT), worker.output
    Stepwise(run).search()
    check_complete(run, 2)


@pytest.mark.slow
def test_a_database_gone_for_longer_than_the_worker_timeout_costs_nothing(
    make_run: MakeRun, postgresql: PostgreSQL
) -> None:
    run = make_run(trials=6, storage=postgresql.database(), mini_epochs=20, worker_timeout=4)
    Stepwise(run).open_study()
    children = [Child(elsewhere, name, "worker", str(run.folder)) for name in ("one", "two")]
    for child in children:
        child.wait_until(working(run, child))
    postgresql.stop()
    try:
        for child in children:
            child.wait_until(_says(child, "out of reach"))
        time.sleep(6)
    finally:
        postgresql.start()
    for child in children:
        assert child.wait() == 0, child.output
        assert "Traceback" not in child.output
        assert "of a worker that died" not in child.output
    check_complete(run, 6)


def _says(child: Child, words: str) -> Callable[[], bool]:
    return lambda: words in child.output
