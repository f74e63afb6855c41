"""Real servers that tests start: PostgreSQL, and Optuna's proxy in front of a storage."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.postgresql import PostgreSQL, free_port, own_postgresql
from support.processes import Child

from kdnas.errors import KdnasError
from kdnas.study.storage import with_driver


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server; tests that need it are skipped where there is none to start."""
    pytest.importorskip("psycopg", reason="no psycopg (pip install 'kdnas[postgresql]')")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(own_postgresql())
        except KdnasError as error:
            pytest.skip(str(error))
        yield server


@contextmanager
def grpc_proxy(url: str) -> Iterator[str]:
    """Optuna's proxy in a process of its own; yields its URL."""
    pytest.importorskip("grpc", reason="no grpcio (pip install 'kdnas[grpc]')")
    port = free_port()
    server = Child(_serve, with_driver(url), port)
    deadline = time.monotonic() + 60  # a busy machine takes long to import optuna
    while not _listens(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serve(url: str, port: int) -> None:
    from optuna.storages import get_storage, run_grpc_proxy_server

    run_grpc_proxy_server(get_storage(url), host="127.0.0.1", port=port)
