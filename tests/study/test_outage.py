"""How long a storage may be gone, by a clock of the test's own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

import pytest
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError

from kdnas.errors import KdnasError
from kdnas.study.storage import PATIENCE_SECONDS, wait_for_storage


class Clock:
    """Time that passes only while somebody sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


def gone(clock: Clock, seconds: float) -> Callable[[], float]:
    """A storage that is out of reach for so long."""

    def ask() -> float:
        if clock.now < seconds:
            raise sqlalchemy.exc.OperationalError("ask", None, Exception("connection refused"))
        return clock.now

    return ask


@pytest.mark.parametrize("seconds", [0, 20, PATIENCE_SECONDS - 1])
def test_an_outage_is_waited_for_and_told_once(clock: Clock, seconds: float) -> None:
    told: list[str] = []
    assert seconds <= wait_for_storage(gone(clock, seconds), told.append) <= seconds + 2
    assert len(told) == bool(seconds) and all("connection refused" in line for line in told)


def test_a_storage_that_does_not_come_back_ends_in_a_line(clock: Clock) -> None:
    with pytest.raises(KdnasError, match="out of reach: connection refused"):
        wait_for_storage(gone(clock, PATIENCE_SECONDS + 60), lambda _: None)
    assert clock.now <= PATIENCE_SECONDS + 4


@pytest.mark.parametrize("said", ["disk I/O error", "database or disk is full"])
def test_a_full_disk_is_not_waited_for(clock: Clock, said: str) -> None:
    def ask() -> None:
        try:
            raise sqlalchemy.exc.OperationalError("ask", None, sqlite3.OperationalError(said))
        except sqlalchemy.exc.OperationalError as error:
            raise StorageInternalError("An exception is raised during the commit.") from error

    with pytest.raises(KdnasError, match=f"no space left to write the study .{said}.: make room"):
        wait_for_storage(ask, lambda _: None)
    assert clock.now == 0
