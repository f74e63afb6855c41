"""Optuna's storages by URL: SQLite, PostgreSQL, MySQL, a journal file, Optuna's gRPC proxy."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import sqlalchemy.exc
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from kdnas.config.storage_url import (
    hide_password,
    redact,
    remember,
    sqlite_url,
    with_password,
)
from kdnas.errors import KdnasError
from kdnas.runtime.interrupt import held

JOURNAL = "journal://"
GRPC = "grpc://"
# By database: the module that SQLAlchemy takes for a bare URL, the one that our extra installs,
# and the name of the extra.
DRIVERS = {
    "postgresql": ("psycopg2", "psycopg", "postgresql"),
    "mysql": ("MySQLdb", "pymysql", "mysql"),
}
# Processes that start together on an empty database make its tables at once; one of them wins.
ATTEMPTS = 5
READY_SECONDS = 20.0


def storage_url(storage: str | None, folder: Path) -> str:
    """The user's storage with its password, else SQLite in the run folder."""
    if storage:
        return with_password(storage, folder)
    return sqlite_url(folder / "study.db")


def make_storage(url: str) -> BaseStorage:
    """A storage of Optuna's.

    Args:
        url: A database URL of SQLAlchemy's, `journal:///PATH` or `grpc://HOST:PORT`.

    Raises:
        KdnasError: A driver is missing, or the URL is none.
        Exception: As `failures` names them: the storage cannot be used.
    """
    remember(url)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url.startswith(JOURNAL):
        return _journal(Path(url.removeprefix(JOURNAL)))
    if url.startswith(GRPC):
        return _proxy(url)
    url = with_driver(url)
    if url.startswith("sqlite"):
        return _database(url, {"connect_args": {"timeout": 60}})
    return _database(url, {"pool_pre_ping": True})


def hold_whole(storage: BaseStorage) -> None:
    """Makes Ctrl-C wait until an operation of the storage is done; pressed again, it does not."""
    for name in dir(BaseStorage):
        operation = getattr(storage, name)
        if callable(operation) and not name.startswith("_"):
            setattr(storage, name, held()(operation))


@contextmanager
def failures(what: str, url: str) -> Iterator[None]:
    """Turns what storages raise into one line.

    Args:
        what: For example `cannot read the study 'x'`.
        url: Of the storage; its password is not shown.

    Raises:
        KdnasError: The storage cannot be used.
    """
    try:
        yield
    except storage_errors() as error:
        raise KdnasError(f"{what} in {without_password(url)}: {reason_of(error)}") from None


def storage_errors() -> tuple[type[Exception], ...]:
    """What a storage raises that cannot be used, or cannot for the moment."""
    own = (sqlalchemy.exc.SQLAlchemyError, OptunaError, RuntimeError, ValueError, KeyError)
    return (*own, ImportError, OSError, *grpc_errors())


def with_driver(url: str) -> str:
    """A database URL with the driver that is installed where it names none.

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
    """A storage's URL as it may be shown."""
    return hide_password(url).removeprefix("sqlite:///")


def _database(url: str, engine: dict[str, Any]) -> RDBStorage:
    for attempt in reversed(range(ATTEMPTS)):
        try:
            return RDBStorage(url, engine_kwargs=engine)
        except (sqlalchemy.exc.SQLAlchemyError, OptunaError) as error:
            if not attempt or not _made_by_another(error):
                raise
            time.sleep(0.3)
    raise AssertionError("unreachable")


def _made_by_another(error: Exception) -> bool:
    said = str(error.__cause__ or error)
    return "already exists" in said or "UNIQUE constraint" in said or "duplicate key" in said


def _journal(file: Path) -> JournalStorage:
    if not file.is_absolute():
        raise KdnasError(f"--storage is {JOURNAL}{file}; {JOURNAL}/PATH/TO/FILE would be right")
    file.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(file)))


def _proxy(url: str) -> GrpcStorageProxy:
    if not find_spec("grpc"):
        raise KdnasError("grpc:// storages need grpcio: pip install 'kdnas[grpc]'")
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise KdnasError(f"--storage is {without_password(url)}; {GRPC}HOST:PORT would be right")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proxy = GrpcStorageProxy(host=host, port=port)
    proxy.wait_server_ready(timeout=READY_SECONDS)
    return proxy


def grpc_errors() -> tuple[type[Exception], ...]:
    """What Optuna's proxy raises; empty where its client is not installed."""
    if not find_spec("grpc"):
        return ()
    import grpc

    return (grpc.RpcError,)


def reason_of(error: Exception) -> str:
    """What lies behind an error, in one line without a password."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return redact(" ".join(str(cause).split()))[:200]
