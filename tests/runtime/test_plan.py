"""Plans: steps, parts, and a time left that is corrected without jumping about."""

from __future__ import annotations

import itertools
import random

import pytest

from kdnas.runtime.plan import Plan, Step


class Clock:
    """A clock that moves on by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def plan_of(clock: Clock) -> Plan:
    steps = [
        Step("teacher", "fine-tune the teacher", {"teacher fine-tuning": 100}, "teacher"),
        Step("search", "search", {"search": 400}, "trial"),
        Step("distil student", "distil", {"signal": 50, "hidden": 150, "task": 150}, "student"),
        Step("control", "control", {"labels-alone": 300}, "student"),
    ]
    return Plan(steps, clock)


def work(plan: Plan, clock: Clock, name: str, slow: float, part: str, slices: int = 10) -> None:
    """Does a part of a step, some times as slowly as planned."""
    step = plan.current
    assert step and step.name == name
    for i in range(slices):
        clock.now += slow * step.parts[part] / slices
        step.reach(part, (i + 1) / slices)


def test_steps_that_were_not_needed_take_no_time(clock: Clock) -> None:
    plan = plan_of(clock)
    plan.begin("search")
    plan.settle({"search", "distil student"})
    assert [step.done for step in plan.steps] == [True, False, True, False], "one runs"
    plan.end(plan.steps[1])
    assert plan.seconds_left == 300


def test_the_time_left_is_that_of_all_steps(clock: Clock) -> None:
    plan = plan_of(clock)
    assert plan.seconds_left == plan.first == 1150
    plan.begin("teacher")
    work(plan, clock, "teacher", 1, "teacher fine-tuning", 2)
    assert plan.place == "step 1 of 4" and plan.seconds_left == pytest.approx(1050)
    plan.end(plan.steps[0])
    assert plan.seconds_left == pytest.approx(1050) and plan.share == pytest.approx(100 / 1150)


def test_what_is_done_already_is_left_out(clock: Clock) -> None:
    plan = plan_of(clock)
    assert plan.begin("signal hidden") is None
    step = plan.begin("distil student")
    assert step and plan.place == "step 3 of 4" and plan.seconds_left == pytest.approx(650)
    step.reach("task", 0.5)  # the stages before it were found
    assert plan.seconds_left < 400


def test_a_slow_machine_corrects_all_that_is_left(clock: Clock) -> None:
    plan = plan_of(clock)
    plan.begin("teacher")
    work(plan, clock, "teacher", 2, "teacher fine-tuning")
    plan.end(plan.steps[0])
    assert 1.5 * 1050 < plan.seconds_left < 2 * 1050
    plan.begin("search")
    work(plan, clock, "search", 1, "search")
    plan.end(plan.steps[1])
    assert 650 < plan.seconds_left < 1.4 * 650  # students: by all work so far


def test_on_a_busy_machine_the_time_left_falls_without_jumps(clock: Clock) -> None:
    plan, rng, told = plan_of(clock), random.Random(0), []
    plan.begin("search")
    for i in range(400):
        clock.now += rng.choice([0.4, 0.6, 1.0, 3.0])  # a trial's pieces: 1.25 s on average
        plan.steps[1].reach("search", (i + 1) / 400)
        told.append(plan.seconds_left)
    steps = [later - earlier for earlier, later in itertools.pairwise(told)]
    assert max(map(abs, steps)) < 0.06 * told[0]
    truth = 1.25 * 700
    assert abs(told[200] - 200 * 1.25 - truth) < 0.2 * (truth + 250)


def test_estimates_of_a_kind_can_be_replaced(clock: Clock) -> None:
    plan = plan_of(clock)
    plan.rescale("student", 2)
    assert plan.seconds_left == 1150 + 650
    one = next(step for step in plan.steps if step.kind == "student")
    others = [step.name for step in plan.steps if step is not one]
    before = one.seconds
    plan.rescale("student", 0.5, but=others)
    assert plan.seconds_left == 1150 + 650 - before / 2


def test_steps_side_by_side_take_longer_each_and_less_together(clock: Clock) -> None:
    plan = plan_of(clock)
    for step in plan.steps[2:]:
        step.jobs, step.slower = 2, 1.4
    first, second = plan.steps[2:]
    alone = first.seconds + second.seconds
    assert Plan(plan.steps, clock).first == pytest.approx(100 + 400 + 0.7 * alone)
    assert plan.begin(first.name, 2) is first and plan.begin(second.name, 2) is second
    assert plan.place == "steps 3 to 4 of 4" and not first.done
    clock.now += 1.4 * second.seconds
    second.reach("labels-alone", 1.0)
    first.reach("task", 100 / 150)
    assert first.spent == 0.0 and plan.seconds_left == pytest.approx(0.7 * 50)
    plan.end(second)
    assert plan.place == "step 3 of 4" and first.spent == pytest.approx(300) == second.spent
    plan.drop(first)
    assert not first.done and not plan.running
    plan.begin(first.name)
    assert plan.seconds_left == pytest.approx(50)
    clock.now += 50
    plan.end(first)
    assert first.spent == pytest.approx(350) and plan.seconds_left == 0


def test_what_nobody_measured_takes_as_many_times_as_long_beside_others(clock: Clock) -> None:
    step = Step("student", "student", {"hidden": 10}, jobs=3)
    assert step.times == 3 and step.added == 1
    step.slower = 6.0  # such a machine is better used by one after the other
    assert step.times == 6 and step.added == 1
