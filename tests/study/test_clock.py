"""Workers whose clock is wrong, and jumps."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta

import optuna.storages._rdb.storage as rdb
import psutil._pslinux
import pytest
from many import MakeRun, check_complete, study_of, working
from optuna.trial import TrialState
from support.processes import Child, command, kdnas_child

from kdnas.study.attributes import WORKER

HOUR = 3600.0
REAL, BOOTED = time.time, psutil._pslinux.boot_time
STARTED = time.monotonic()


def _shift() -> float:
    """An hour fast at first, an hour slow in the next half second, and so on."""
    return HOUR if int((time.monotonic() - STARTED) * 2) % 2 else -HOUR


class _Shifted(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now() + timedelta(seconds=_shift())


def with_a_wrong_clock(*arguments: str) -> None:
    """A command whose every time of day is wrong, also that at which the system booted."""
    time.time = lambda: REAL() + _shift()
    psutil._pslinux.boot_time = lambda: BOOTED() + _shift()
    rdb.datetime = _Shifted  # type: ignore[misc, attr-defined]
    command(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "postgresql"])
def test_a_worker_whose_clock_jumps_and_one_whose_clock_is_right(
    make_run: MakeRun, storage: str, request: pytest.FixtureRequest
) -> None:
    where = None if storage == "sqlite" else request.getfixturevalue("postgresql").database()
    run = make_run(trials=8, storage=where, mini_epochs=6, worker_timeout=4)
    children = [
        Child(with_a_wrong_clock, "worker", str(run.folder)),
        kdnas_child("worker", run.folder),
    ]
    for child in children:
        child.wait_until(working(run, child))
    for child in children:
        assert child.wait() == 0, child.output
        assert "died" not in child.output and "another process" not in child.output
    trials = check_complete(run, 8)
    paid = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len({t.user_attrs[WORKER] for t in paid}) == 2
    assert all("given_back" in t.user_attrs for t in trials if t.state == TrialState.FAIL)
    assert all(0 < t.user_attrs["seconds"] < 200 for t in paid)
    starts = [t.datetime_start.timestamp() for t in study_of(run).trials if t.datetime_start]
    assert max(starts) - min(starts) > HOUR / 2  # their clocks did differ
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert max(x["time"] for x in lines) - min(x["time"] for x in lines) > HOUR / 2
    assert all(0 <= x["seconds"] < 200 for x in lines if x["event"] == "end")
    assert all(0 <= seconds < 400 for seconds in run.seconds().values())
