"""Optuna's storages by URL: SQLite, PostgreSQL, MySQL, a journal file, Optuna's gRPC proxy."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import optuna
import sqlalchemy.exc
from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
)

from kdnas.config.storage_url import (
    SQLITE,
    hide_password,
    remember,
    sqlite_url,
    with_password,
)
from kdnas.errors import KdnasError
from kdnas.files.atomic import make_file
from kdnas.runtime.interrupt import held
from kdnas.runtime.shown import cut, redact

JOURNAL = "journal://"
GRPC = "grpc://"
# By database: SQLAlchemy's default driver, the driver of our extra, and the extra's name.
DRIVERS = {
    "postgresql": ("psycopg2", "psycopg", "postgresql"),
    "mysql": ("MySQLdb", "pymysql", "mysql"),
}
# Processes that start together on an empty database create its tables at once; one of them wins.
ATTEMPTS = 5
BEATEN = ("already exists", "UNIQUE constraint", "duplicate key")
READY_SECONDS = 10.0
# For how long nothing may answer at a proxy's address, and how often that is tried.
CONNECT_SECONDS = 4.0
RETRY_CONNECT_SECONDS = 0.5
# For how long a study waits for a storage that is out of reach, and how often it asks.
PATIENCE_SECONDS = 600.0
RETRY_SECONDS = 2.0

# What SQLite says where it cannot write.
DISK_FULL = ("database or disk is full", "disk I/O error")
# Of a storage whose content cannot be read.
DAMAGED = "is damaged"

T = TypeVar("T")


def storage_url(storage: str | None, folder: Path) -> str:
    """The user's storage with its password, else SQLite in the run folder."""
    if storage:
        return with_password(storage, folder)
    return sqlite_url(folder / "study.db")


def make_storage(url: str) -> BaseStorage:
    """A storage of Optuna's by its URL: SQLAlchemy's, `journal:///PATH` or `grpc://HOST:PORT`.

    Raises:
        KdnasError: A driver is missing, or the URL is malformed.
        Exception: The storage cannot be used; `storage_failures` turns it into one line.
    """
    remember(url)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url.startswith(JOURNAL):
        file = Path(url.removeprefix(JOURNAL))
        if not file.is_absolute():
            raise KdnasError(f"invalid --storage {url}: expected {JOURNAL}/PATH/TO/FILE")
        file.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(file)))
    if url.startswith(GRPC):
        return _proxy(url)
    url, engine = with_driver(url), dict[str, Any](pool_pre_ping=True)
    if url.startswith(SQLITE):
        engine = {"connect_args": {"timeout": 60}}
        database = file_of(url)
        if database and database.parent.is_dir() and not os.path.lexists(database):
            _make_database(database, url)
    retrying = Retrying(
        retry=retry_if_exception(_created_by_another),
        wait=wait_fixed(0.3),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    return retrying(RDBStorage, url, engine_kwargs=engine)


def _make_database(file: Path, url: str) -> None:
    """Makes an empty SQLite storage, whole or not at all.

    Optuna makes a table and its unique index in two steps, and an index that is missing, as after a
    kill between them, never: every process would then make a study of its own under the same name.
    """
    with make_file(file) as partial:
        disconnect(RDBStorage(sqlite_url(partial, make_url(url))))


def disconnect(storage: BaseStorage) -> None:
    """Closes a storage's connections, which a fork must not share; the next use makes new ones."""
    storage.remove_session()
    backend = getattr(storage, "_backend", storage)
    if isinstance(backend, RDBStorage):
        backend.engine.dispose()


def defer_interrupts(storage: BaseStorage) -> None:
    """Defers Ctrl-C until an operation of the storage is done; pressed again, it counts at once."""
    for name in dir(BaseStorage):
        operation = getattr(storage, name)
        if callable(operation) and not name.startswith("_"):
            setattr(storage, name, held()(operation))


@contextmanager
def storage_failures(what: str, url: str) -> Iterator[None]:
    """Turns errors of a storage into one line that begins with `what`, without a password.

    Raises:
        KdnasError: The storage cannot be used.
    """
    own = (sqlalchemy.exc.SQLAlchemyError, OptunaError, RuntimeError, ValueError, KeyError)
    failures: tuple[type[Exception], ...] = (*own, ImportError, OSError, *_grpc_errors())
    try:
        yield
    except failures as error:
        raise KdnasError(f"{what} in {without_password(url)}: {_reason(error)}") from None


def outages() -> tuple[type[Exception], ...]:
    """What a study raises while its storage is out of reach."""
    return (StorageInternalError, sqlalchemy.exc.OperationalError, *_grpc_errors())


def wait_for_storage(work: Callable[[], T], say: Callable[[str], None]) -> T:
    """Repeats some work while the storage is out of reach, and says once what it waits for.

    Raises:
        KdnasError: It has been out of reach for too long, or its own disk cannot be written.
    """

    def announce(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome and (error := state.outcome.exception()):
            say(f"the study's storage is out of reach; waiting for it ({_reason(error)})")

    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_fixed(RETRY_SECONDS),
        stop=stop_after_delay(PATIENCE_SECONDS),
        before_sleep=announce,
        reraise=True,
    )
    try:
        return retrying(work)
    except outages() as error:
        if _may_pass(error):
            raise KdnasError(f"the study's storage is out of reach: {_reason(error)}") from None
        raise KdnasError(
            f"no space left to write the study ({_cause(error)}): make room, then continue with "
            "kdnas resume (finished trials are kept)"
        ) from None


def _may_pass(error: BaseException) -> bool:
    """Whether a study's storage may be in reach again by itself; a disk is not emptied so."""
    said = str(_cause(error))
    return isinstance(error, outages()) and not any(words in said for words in DISK_FULL)


def file_of(url: str) -> Path | None:
    """The file of a storage; None where it is a server."""
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    if not url.startswith(SQLITE):
        return None
    name = make_url(url).database
    return Path(name) if name and not name.startswith("file:") else None


def file_problem(url: str) -> str | None:
    """Why a storage's file holds no studies, in words; None where it may, or is no file."""
    file = file_of(url)
    if file is None:
        return None
    if not file.exists():
        return f"{file} is gone"
    if not file.is_file():
        return f"{file} is no file"
    if not file.stat().st_size:
        return f"{file} is empty"
    return _database_problem(file) if url.startswith(SQLITE) else None


def _database_problem(file: Path) -> str | None:
    try:
        address = f"file:{quote(str(file))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=60)) as base:
            tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
            (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return None if "locked" in str(error) else f"{file} {DAMAGED}: {error}"
    if verdict != "ok":
        return f"{file} {DAMAGED}: {' '.join(str(verdict).split())[:200]}"
    return None if "studies" in tables or not tables else f"{file} holds no Optuna studies"


def with_driver(url: str) -> str:
    """A database URL, completed by an installed driver where it names none.

    Raises:
        KdnasError: None is installed.
    """
    scheme, separator, rest = url.partition("://")
    database = "postgresql" if scheme == "postgres" else scheme
    if not separator or database not in DRIVERS:
        return url
    usual, ours, extra = DRIVERS[database]
    if find_spec(usual):
        return f"{database}://{rest}"
    if find_spec(ours):
        return f"{database}+{ours}://{rest}"
    raise KdnasError(f"{database}:// storages need {ours}: pip install 'kdnas[{extra}]'")


def without_password(url: str) -> str:
    """A storage's URL for messages."""
    return hide_password(url).removeprefix("sqlite:///")


def _created_by_another(error: BaseException) -> bool:
    said = str(error.__cause__ or error)
    database = isinstance(error, sqlalchemy.exc.SQLAlchemyError | OptunaError)
    return database and any(words in said for words in BEATEN)


def _proxy(url: str) -> GrpcStorageProxy:
    if not find_spec("grpc"):
        raise KdnasError("grpc:// storages need grpcio: pip install 'kdnas[grpc]'")
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise KdnasError(f"invalid --storage {without_password(url)}: expected {GRPC}HOST:PORT")
    _wait_for_server(host, port)
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        proxy = GrpcStorageProxy(host=host, port=port)
    try:
        proxy.wait_server_ready(timeout=READY_SECONDS)
    except _grpc_errors():  # of no words of its own
        raise KdnasError(
            f"what answers at {GRPC}{host}:{port} is no Optuna storage proxy; correct --storage"
        ) from None
    return proxy


def _wait_for_server(host: str, port: int) -> None:
    """Waits a little for a server that was started beside us.

    Raises:
        KdnasError: Nothing answers there.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
            return
        except OSError as error:
            if time.monotonic() + RETRY_CONNECT_SECONDS > deadline:
                raise KdnasError(
                    f"no server answers at {GRPC}{host}:{port}: {error.strerror or error}; start "
                    "it, or correct --storage"
                ) from None
        time.sleep(RETRY_CONNECT_SECONDS)


def _grpc_errors() -> tuple[type[Exception], ...]:
    """What Optuna's proxy raises; empty where its client is not installed."""
    if not find_spec("grpc"):
        return ()
    import grpc

    return (grpc.RpcError, grpc.FutureTimeoutError)


def _cause(error: BaseException) -> BaseException:
    """The driver's own error behind SQLAlchemy's and Optuna's."""
    inner = error.__cause__ if isinstance(error, StorageInternalError) else None
    error = inner or error
    return getattr(error, "orig", None) or error.__cause__ or error


def _reason(error: BaseException) -> str:
    """The cause of an error, in one line without a password."""
    cause = _cause(error)
    said = " ".join(str(cause).split()) or type(cause).__name__
    if isinstance(cause, OSError) and cause.strerror:
        said = f"{cause.filename}: {cause.strerror}" if cause.filename else cause.strerror
    return cut(redact(said), 200)
