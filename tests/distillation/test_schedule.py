from __future__ import annotations

import time

import pytest
import torch

from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import TaskLoss
from kdnas.distillation.schedule import Pace, Schedule


def test_the_learning_rate_rises_and_falls() -> None:
    pace = Pace(Schedule(1, lr=1.0, warmup=0.2), steps=10)
    rates = []
    while not pace.done:
        rates.append(pace.learning_rate)
        pace.advance(torch.tensor(0.0))
    assert rates[:2] == pytest.approx([0.25, 0.75])
    assert rates[2] == pytest.approx(0.75 / 0.8)
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] == pytest.approx(0.05 / 0.8)


def test_a_budget_of_seconds_ends_a_training_by_the_clock() -> None:
    schedule = Schedule(100, lr=1.0, warmup=0.1, max_seconds=50)
    pace = Pace(schedule, steps=1000, began=time.perf_counter() - 30)
    assert pace.progress == pytest.approx(0.6, abs=0.02) and not pace.done
    assert pace.learning_rate == pytest.approx(0.4 / 0.9, abs=0.03)
    pace.began -= 30
    assert pace.done


@pytest.mark.parametrize(
    ("steps", "weights"),
    [(5, [1.0, 0.75, 0.5, 0.25, 0.0]), (2, [1.0, 0.0]), (1, [0.0])],
)
def test_a_weight_goes_from_its_first_value_to_its_last(steps: int, weights: list[float]) -> None:
    pace, objective = Pace(Schedule(1, 1.0), steps), WeightedLosses({"a": ((1.0, 0.0), TaskLoss())})
    found = []
    while not pace.done:
        objective.ramp.fill_(pace.ramp)
        found.append(float(objective.weight("a")))
        pace.advance(torch.tensor(0.0))
    assert found == weights


def test_a_weight_changes_with_the_clock_where_that_ends_the_training() -> None:
    schedule = Schedule(100, lr=1.0, max_seconds=50)
    pace = Pace(schedule, steps=1000, began=time.perf_counter() - 30)
    assert pace.ramp == pytest.approx(0.6, abs=0.02)


def test_seconds_before_an_interruption_count() -> None:
    first = Pace(Schedule(1, 1.0, max_seconds=50), steps=10, began=time.perf_counter() - 40)
    first.advance(torch.tensor(0.5))
    again = Pace(Schedule(1, 1.0, max_seconds=50), steps=10)
    again.load_state_dict(first.state_dict())
    assert again.seconds == pytest.approx(40, abs=1) and again.step == 1
    assert again.curve == [(1, 0.5)]


def test_the_first_and_last_step_are_noted() -> None:
    for steps, noted in (
        (450, [*range(1, 450, 20), 450]),
        (90, [*range(1, 90, 4), 90]),
        (3, [1, 2, 3]),
    ):
        pace = Pace(Schedule(1, 1.0), steps=steps)
        for step in range(steps):
            pace.advance(torch.tensor(float(step)))
        assert pace.curve == [(step, step - 1.0) for step in noted]
    paused = Pace(Schedule(1, 1.0), steps=450, until=0.1)
    for step in range(45):
        paused.advance(torch.tensor(float(step)))
    assert paused.curve[-1] == (45, 44.0)
