"""Progress of jobs within jobs, and lines about it."""

from __future__ import annotations

import pytest

from kdnas.runtime import console
from kdnas.runtime.console import following, progress, silently, step
from kdnas.runtime.plan import Plan, Step
from kdnas.runtime.progress import Lines, Ongoing


class Clock:
    """A clock that moves on by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("kdnas.runtime.progress.time", made)
    monkeypatch.setattr(console, "_lines", Lines())
    return made


def test_what_was_lost_brings_no_job_behind_its_beginning() -> None:
    job = Ongoing("search", 8, 5, "trial")
    job.reach(4)
    assert job.share == 0 and job.seconds_left == 0


def test_an_enclosed_job_is_a_step_of_the_one_around_it(clock: Clock) -> None:
    opened: list[Ongoing] = []
    outer, inner = Ongoing("search", 20, 10, "trial"), Ongoing("trial 12", 100, 0)
    with outer.within(opened):
        outer.reach(12)
        with inner.within(opened):
            inner.reach(50)
            assert outer.share == 0.25 and inner.share == 0.5 and opened == [outer, inner]
            assert outer.label == "trial 13/20" and inner.label == "trial 12 50/100"
        assert outer.share == 0.2 and opened == [outer]
        clock.now += 60
        assert outer.seconds_left == pytest.approx(240)


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [(1090, 1616, "1090/1616"), (0.25, 3, "0.25/3"), (1_234_567, 2_000_000, "1234567/2000000")],
)
def test_steps_are_shown_as_numbers_that_one_reads(done: float, total: float, shown: str) -> None:
    job = Ongoing("task", total, 0)
    job.reach(done)
    assert job.label == f"task {shown}"


def test_lines_become_fewer_with_time(clock: Clock) -> None:
    lines, told = Lines(), []
    start = clock.now
    for _ in range(4 * 3600):
        clock.now += 1
        if lines.due(clock.now - start):
            told.append(clock.now - start)
    assert told[:3] == [15, 30, 45]
    assert told[-1] - told[-2] == pytest.approx(0.02 * told[-1], abs=2)
    assert len(told) < 200


def test_lines_tell_the_time_left_for_all_of_a_plan(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [Step("search", "search", {"search": 400}), Step("report", "report", {"report": 600})]
    with following(Plan(steps, clock.monotonic)):
        with step("search"), progress("search", 4, unit="trial") as whole:
            for i in range(4):
                with progress(f"trial {i}", 10) as part:
                    for _ in range(10):
                        clock.now += 10
                        part("loss 0.1")
                whole("best reward 0.9")
        with step("report"):
            clock.now += 600
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 1 of 2: search (about 17 min left in all)"
    assert "  step 1 of 2: trial 1/4, 20%; about 16 min left in all  loss 0.1" in lines
    assert "  step 1 of 2: trial 3/4, 60%; about 12 min left in all  loss 0.1" in lines
    assert lines[-2] == "step 2 of 2: report (about 10 min left in all)"
    assert lines[-1] == "done in 16 min 40 s; planned: about 17 min"


def test_without_a_plan_a_job_tells_its_own_time(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("predict", 4) as advance:
        for _ in range(4):
            clock.now += 20
            advance("")
    left = ("1 min", "40 s", "20 s")
    lines = [f"  predict {i}/4, about {text} left" for i, text in enumerate(left, 1)]
    assert capsys.readouterr().out.splitlines() == lines


def test_silently_no_plan_is_followed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan([Step("search", "search", {"search": 4})], clock.monotonic)
    with following(plan), silently(), step("search"), progress("search", 1) as advance:
        clock.now += 20
        advance("")
    assert capsys.readouterr().out.startswith("done in 20 s")
    assert not plan.steps[0].done
