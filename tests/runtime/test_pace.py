from __future__ import annotations

import pytest

from kdnas.runtime import pace
from kdnas.runtime.console import progress
from kdnas.runtime.pace import FIRST, WARM_UP, Pace


class Clock:
    """A clock that moves on by hand."""

    now = 1.0

    def read(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "working_seconds", made.read)
    monkeypatch.setattr("os.getloadavg", lambda: (9.0, 9.0, 9.0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return made


def steps(watched: Pace, clock: Clock, count: int, seconds: float) -> list[str]:
    said = []
    for _ in range(count):
        clock.now += seconds
        said += filter(None, [watched.step()])
    return said


def test_a_job_that_becomes_slow_says_so_once(clock: Clock) -> None:
    watched = Pace("trial 3")
    assert steps(watched, clock, 4, 5.0) == []  # the first are no measure
    assert steps(watched, clock, WARM_UP + FIRST, 0.1) == []
    assert steps(watched, clock, 500, 0.2) == []
    assert steps(watched, clock, 100, 1.0) == [
        "trial 3: 10 times slower than its first steps; other work takes its cores (load 9.0 on 2)"
    ]
    assert steps(watched, clock, 100, 1.0) == []


def test_a_short_pause_is_not_said(clock: Clock) -> None:
    watched = Pace("trial 3")
    steps(watched, clock, WARM_UP + FIRST + 1, 0.1)
    assert steps(watched, clock, 1, 2.0) == steps(watched, clock, 400, 0.1) == []


def test_progress_says_it(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", 1000) as advance:
        for i in range(200):
            clock.now += 0.1 if i < 50 else 1.0
            advance("")
    assert capsys.readouterr().out.count("training: 10 times slower than its first steps") == 1
