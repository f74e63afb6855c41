"""Every kind of storage, with real servers behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
import sqlalchemy.event
from conftest import QUICK
from optuna.storages import GrpcStorageProxy
from optuna.trial import TrialState
from servers import PostgreSQL, free_port, grpc_proxy
from sqlalchemy.engine import Engine
from support.processes import FORKS, Child
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.report.write import rewrite_report
from kdnas.runs.run_folder import Run
from kdnas.space.families import FIELDS
from kdnas.study import workers
from kdnas.study.attributes import RETRY_OF
from kdnas.study.storage import file_of, make_storage, storage_url, with_driver, without_password
from kdnas.study.study import create_study, load_run_study
from kdnas.study.workers import WorkerMonitor, heartbeat

SPACE = {name: optuna.distributions.CategoricalDistribution((1, 2, 3)) for name in FIELDS}
# A proxy takes seconds to start.
KINDS = ("sqlite", "journal", "postgresql", pytest.param("grpc", marks=pytest.mark.slow))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new storage of each kind; the proxy stands in front of a database."""
    if request.param == "grpc":
        with grpc_proxy(f"sqlite:///{tmp_path}/behind.db") as proxy:
            yield proxy
    elif request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        yield server.database()
    else:
        yield {
            "sqlite": f"sqlite:///{tmp_path}/study.db",
            "journal": f"journal://{tmp_path}/study.log",
        }[request.param]


def new_study(url: str, name: str = "s") -> optuna.Study:
    return create_study(url, name, None, "reward", {"task": "t"})


def test_a_study_is_written_and_read(url: str, tmp_path: Path) -> None:
    study = new_study(url)
    study.enqueue_trial(dict.fromkeys(FIELDS, 2), user_attrs={"units": 3})
    trial = study.ask(SPACE)
    assert set(trial.params.values()) == {2} and trial.user_attrs["units"] == 3
    study.tell(trial, 0.5)
    assert load_run_study(url, "s", tmp_path).best_value == 0.5
    assert new_study(url).best_value == 0.5
    with pytest.raises(KdnasError, match="no study 'another' in .*; it has 's'"):
        load_run_study(url, "another", tmp_path)


@pytest.mark.slow
def test_a_search_on_a_journal_file(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    settings = Settings(
        teacher=str(teacher_folder),
        task="mrpc",
        data_dir=data_folder,
        out=tmp_path / "run",
        storage=f"journal://{tmp_path}/logs/study.log",
        trials=2,
        **QUICK,
    )
    run = Run.create(settings)
    with pytest.raises(KdnasError, match="has no study yet"):
        rewrite_report(run)
    Stepwise(run).search()
    rewrite_report(run)
    assert (tmp_path / "logs" / "study.log").exists() and not (run.folder / "study.db").exists()
    assert (run.folder / "trials.csv").read_text().count("COMPLETE") == 2


@pytest.mark.slow
def test_the_trial_of_a_worker_that_fell_silent_elsewhere_is_queued_again_once(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.database()
    with grpc_proxy(url) as proxy:
        _silent_worker(url, "a", monkeypatch)
        _silent_worker(proxy, "b", monkeypatch)


@pytest.mark.slow
def test_behind_a_proxy_too_where_there_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with grpc_proxy(f"sqlite:///{tmp_path}/behind.db") as proxy:
        _silent_worker(proxy, "a", monkeypatch)


def _silent_worker(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers elsewhere, one of which dies; two others notice at the same time."""
    study = new_study(url, name)
    living, dead = study.ask(SPACE), study.ask(SPACE)
    monkeypatch.setattr(workers, "process_name", lambda: "elsewhere:1:1")
    with heartbeat(dead, 1):
        pass
    onlookers = [WorkerMonitor(new_study(url, name), 1) for _ in range(2)]
    with heartbeat(living, 1):
        end = time.monotonic() + 30
        while study.trials[dead.number].state == TrialState.RUNNING:
            assert time.monotonic() < end
            for onlooker in onlookers:
                onlooker.release_dead()
            time.sleep(0.1)
        assert study.trials[dead.number].state == TrialState.FAIL
        for _ in range(15):
            time.sleep(0.1)
            for onlooker in onlookers:
                onlooker.release_dead()
        assert study.trials[living.number].state == TrialState.RUNNING
    again = [t for t in study.trials if t.user_attrs.get(RETRY_OF) == dead.number]
    assert [t.state for t in again] == [TrialState.WAITING]
    assert study.ask(SPACE).params == dead.params
    study.tell(living, 1.0)


@pytest.mark.slow
def test_tables_made_by_several_processes_at_once(postgresql: PostgreSQL) -> None:
    barrier, url = FORKS.Barrier(4), postgresql.database()
    children = [Child(make_tables, barrier, url) for _ in range(4)]
    for child in children:
        assert child.wait() == 0 and child.output == "s\n", child.output


def make_tables(barrier: Barrier, url: str) -> None:
    barrier.wait(60)
    print(new_study(url).study_name)


def test_a_bare_url_takes_the_driver_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"psycopg": True}
    monkeypatch.setattr("kdnas.study.storage.find_spec", there.get)
    for scheme in ("postgres", "postgresql"):
        assert with_driver(f"{scheme}://u@h/d") == "postgresql+psycopg://u@h/d"
    assert with_driver("postgresql+pg8000://u@h/d") == "postgresql+pg8000://u@h/d"
    assert with_driver("sqlite:////d.db") == "sqlite:////d.db"
    with pytest.raises(KdnasError, match=r"need pymysql: pip install 'kdnas\[mysql\]'"):
        with_driver("mysql://u@h/d")
    there["psycopg2"] = there["pymysql"] = True
    assert with_driver("postgres://u@h/d") == "postgresql://u@h/d"
    assert with_driver("mysql://u@h/d") == "mysql+pymysql://u@h/d"


def test_passwords_are_not_shown() -> None:
    assert without_password("postgresql://me:a@b/c@h:1/d") == "postgresql://***@h:1/d"
    assert without_password("postgresql://me:a%40b@h:1/d") == "postgresql://me:***@h:1/d"
    assert without_password("postgresql://me@h/d") == "postgresql://me@h/d"
    assert without_password("sqlite:////tmp/x") == "/tmp/x"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("journal://relative.log", "expected journal:///PATH/TO/FILE"),
        ("journal:///", "/: Is a directory"),
        ("grpc://host", "expected grpc://HOST:PORT"),
        ("grpc://host:port", "expected grpc://HOST:PORT"),
        ("nonsense", "Could not parse SQLAlchemy URL"),
        ("postgresql://me:secret@127.0.0.1:1/d", "refused"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_a_line(url: str, message: str) -> None:
    if url.startswith("grpc") and not find_spec("grpc"):
        pytest.skip("no grpcio")
    if url.startswith("postgresql") and not find_spec("psycopg"):
        pytest.skip("no psycopg")
    with pytest.raises(KdnasError) as caught:
        new_study(url)
    assert message in str(caught.value) and "secret" not in str(caught.value)


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    def die_before_an_index(*given: object) -> None:
        if "CREATE UNIQUE INDEX" in str(given[2]):
            raise KilledError

    url = f"sqlite:///{tmp_path}/study.db"
    sqlalchemy.event.listen(Engine, "before_cursor_execute", die_before_an_index)
    try:
        with pytest.raises(KilledError):
            new_study(url)
    finally:
        sqlalchemy.event.remove(Engine, "before_cursor_execute", die_before_an_index)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        new_study(url)
    assert [study.study_name for study in make_storage(url).get_all_studies()] == ["s"]


def test_a_proxy_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr("kdnas.study.storage.CONNECT_SECONDS", 0.5)
    with pytest.raises(
        KdnasError, match=r"no server answers at grpc://127.0.0.1:\d+: .*refused; start it"
    ):
        new_study(f"grpc://127.0.0.1:{free_port()}")


def test_a_proxy_is_optunas_own(tmp_path: Path) -> None:
    with grpc_proxy(f"sqlite:///{tmp_path}/x.db") as proxy:
        assert isinstance(make_storage(proxy), GrpcStorageProxy)


@pytest.mark.parametrize("name", ["q?lr=1", "a%20b", "hash#1", "ünï", "[x]", "a&b;c", "with space"])
def test_the_file_of_a_storage_has_whatever_name_its_folder_has(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "study.db"
    assert file_of(storage_url(None, tmp_path / name)) == file
    assert file_of("postgresql://h/db") is None is file_of("grpc://h:1")
