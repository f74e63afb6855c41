"""The time of a run counts over all its sessions, also those that were killed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from kdnas.files.atomic import write_json
from kdnas.runs import clock
from kdnas.runs.clock import run_clock, seconds_before, time_spent
from kdnas.runs.run_folder import Run


def test_sessions_add_up(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (run.folder / "steps").mkdir()
    spent = time_spent(run, time.monotonic() - 100)
    assert 100 <= spent() < 110 and seconds_before(run) == 0
    with run_clock(run, spent):
        pass
    assert 100 <= seconds_before(run) < 110
    assert 100 <= time_spent(run)() < 110


def test_a_session_that_is_killed_is_kept_as_far_as_it_was_seen(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    (run.folder / "steps").mkdir()
    monkeypatch.setattr(clock, "EVERY_SECONDS", 0.01)
    with run_clock(run, time_spent(run, time.monotonic() - 50)):
        for _ in range(500):
            if seconds_before(run):
                break
            time.sleep(0.01)
        assert seconds_before(run) >= 50  # before the block ends


def test_a_run_that_has_no_step_is_left_as_it_is(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with run_clock(run, time_spent(run)):
        pass
    assert not (run.folder / "steps").exists()
    (run.folder / "steps").mkdir()
    write_json(run.folder / "steps" / clock.FILE, {"seconds": "many"})
    assert seconds_before(run) == 0
