"""What a worker's death costs: its candidate's work, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from conftest import QUICK, kdnas
from optuna.trial import TrialState
from servers import PostgreSQL, grpc_proxy

from kdnas.config import Settings
from kdnas.pipeline import Pipeline
from kdnas.run import Run
from kdnas.search.storage import storage_url
from kdnas.search.study import read_study
from kdnas.search.workers import RETRY_OF, WORKER

# A search that is killed when its first result is half told.
KILLED_TELLING = """
import os, signal, sys
from pathlib import Path
from kdnas.pipeline import Pipeline
from kdnas.run import Run
from kdnas.search.tell import Teller

def killed(self, trial, values, rung):
    os.kill(os.getpid(), signal.SIGKILL)

Teller._score = killed
Pipeline(Run.open(Path(sys.argv[1]))).search()
"""

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> MakeRun:
    """Makes a run that nobody has begun."""

    def make(**changes: object) -> Run:
        values = {
            "teacher": str(teacher_folder),
            "task": "mrpc",
            "data_dir": data_folder,
            "out": tmp_path / "run",
            "trials": 4,
            **QUICK,
            **changes,
        }
        return Run.create(Settings(**values))

    return make


def start(*arguments: object) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "kdnas", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def study_of(run: Run) -> optuna.Study:
    url = storage_url(run.settings.storage, run.folder)
    return read_study(url, run.settings.study, run.folder)


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """Waits until something is so while a process runs."""
    end = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


def working(run: Run, process: subprocess.Popen[str]) -> Callable[[], bool]:
    """Whether a process trains a candidate."""

    def ready() -> bool:
        try:
            trials = study_of(run).get_trials(states=(TrialState.RUNNING,))
        except Exception:
            return False
        return any(
            f":{process.pid}:" in t.user_attrs.get(WORKER, "") and "begun" in t.user_attrs
            for t in trials
        )

    return ready


def check_complete(run: Run, total: int) -> list[optuna.trial.FrozenTrial]:
    """The total to the trial, no student twice, nothing open."""
    trials = study_of(run).trials
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(complete) == total
    assert len({tuple(t.params.values()) for t in complete}) == total
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    return trials


def test_two_workers_start_at_the_same_instant_on_an_empty_run(make_run: MakeRun) -> None:
    run = make_run(trials=6)
    workers = [start("worker", run.folder) for _ in range(2)]
    for worker in workers:
        output, _ = worker.communicate(timeout=240)
        assert worker.returncode == 0, output
    check_complete(run, 6)


def test_a_worker_killed_in_mid_training_costs_its_candidate(
    make_run: MakeRun,
    request: pytest.FixtureRequest,
    teacher_folder: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The search on a database, its worker elsewhere behind the proxy."""
    try:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.database()
    except pytest.skip.Exception:
        url = f"sqlite:///{tmp_path}/shared.db"
    run = make_run(trials=3, storage=url, study="shared", mini_epochs=40)
    Pipeline(run).open_study()
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache of its own"))
    with grpc_proxy(url) as proxy:
        places = ("--teacher", teacher_folder, "--data-dir", data_folder, "--threads", 1)
        elsewhere = tmp_path / "elsewhere"
        worker = start(
            *("worker", "--storage", proxy, "--study", "shared", "--out", elsewhere),
            *(*places, "--device", "cpu"),
        )
        wait_for(worker, working(run, worker))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    done = kdnas("worker", run.folder)
    assert done.returncode == 0, done.stderr
    assert "1 trial(s) of a process that died will be tried again" in done.stdout
    trials = check_complete(run, 3)
    lost = [t for t in trials if t.state == TrialState.FAIL]
    assert [t.user_attrs.get(RETRY_OF) for t in trials].count(lost[0].number) == 1
    assert len(lost) == 1


def test_a_worker_killed_while_telling_costs_its_candidate(make_run: MakeRun) -> None:
    run = make_run(trials=3)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_TELLING, run.folder], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    half = [t for t in study_of(run).trials if t.state == TrialState.RUNNING]
    assert len(half) == 1 and "reward" in half[0].user_attrs
    Pipeline(run).search()
    trials = check_complete(run, 3)
    again = [t for t in trials if t.user_attrs.get(RETRY_OF) == half[0].number]
    assert len(again) == 1 and again[0].params == half[0].params


def test_ctrl_c_twice_leaves_a_run_that_goes_on(make_run: MakeRun) -> None:
    run = make_run(trials=3, mini_epochs=40)
    worker = start("worker", run.folder)
    wait_for(worker, working(run, worker))
    for _ in range(2):
        os.kill(worker.pid, signal.SIGINT)
        time.sleep(0.05)
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode in (130, -signal.SIGINT), output
    assert kdnas("worker", run.folder).returncode == 0
    check_complete(run, 3)


def test_a_database_that_is_gone_for_some_seconds_is_waited_for(
    make_run: MakeRun, postgresql: PostgreSQL
) -> None:
    run = make_run(trials=4, storage=postgresql.database(), mini_epochs=20)
    worker = start("worker", run.folder)
    wait_for(worker, working(run, worker))
    postgresql.stop()
    time.sleep(8)
    postgresql.start()
    output, _ = worker.communicate(timeout=240)
    assert worker.returncode == 0, output
    assert "out of reach" in output and "Traceback" not in output
    check_complete(run, 4)
