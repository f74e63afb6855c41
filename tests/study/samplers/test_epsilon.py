"""The share of random trials, against golden values."""

from __future__ import annotations

import pytest

from kdnas.study.samplers._epsilon import EpsilonSchedule


@pytest.mark.parametrize(
    ("n_trials", "size", "epsilons"),
    [
        (1, 1, [1.0, 0.1]),
        (2, 1, [1.0, 0.1]),
        (3, 1, [1.0, 0.55, 0.1, 0.1]),
        (15, 5, [1.0, 0.55, 0.1, 0.1]),
        (100, 10, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1]),
    ],
)
def test_epsilon_falls_from_one_to_the_floor(
    n_trials: int, size: int, epsilons: list[float]
) -> None:
    schedule = EpsilonSchedule(n_trials, episode_size=10, floor=0.1)
    assert schedule.size == size
    assert [schedule.epsilon(episode * size) for episode in range(len(epsilons))] == epsilons
    assert schedule.epsilon(size - 1) == 1.0


@pytest.mark.parametrize(
    ("n_trials", "expected"),
    [
        (1, "r"),
        (2, "rc"),
        (3, "rrc"),
        (15, "rrrrr" + "rrrcc" + "ccccc"),
        (100, "".join("r" * n + "c" * (10 - n) for n in range(10, 0, -1))),
    ],
)
def test_random_trials_come_first_in_an_episode(n_trials: int, expected: str) -> None:
    schedule = EpsilonSchedule(n_trials, episode_size=10, floor=0.1)
    found = "".join("r" if schedule.is_random(number) else "c" for number in range(n_trials))
    assert found == expected


def test_shares_do_not_drift() -> None:
    assert int(0.29 * 100) == 28  # what the fractions are for
    long = EpsilonSchedule(n_trials=300, episode_size=100, floor=0.29)
    assert sum(long.is_random(number) for number in range(200, 300)) == 29
    # 0.3 of 5 is one and a half, rounded up; the float 0.3 lies below three tenths.
    short = EpsilonSchedule(n_trials=15, episode_size=10, floor=0.3)
    assert sum(short.is_random(number) for number in range(10, 15)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("floor", [0.01, 0.05, 0.09, 0.1, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("size", [1, 5, 8])
def test_the_floor_is_what_is_random_in_the_long_run(floor: float, size: int) -> None:
    schedule = EpsilonSchedule(n_trials=100, episode_size=size, floor=floor, fall=0.5)
    later = [schedule.is_random(number) for number in range(100, 1100)]
    assert sum(later) == pytest.approx(1000 * floor, abs=1)


@pytest.mark.parametrize("n_trials", [1, 2, 3, 7, 12, 40, 101])
@pytest.mark.parametrize("fall", [0.0, 0.3, 1.0])
def test_the_floor_is_reached_within_any_plan(n_trials: int, fall: float) -> None:
    schedule = EpsilonSchedule(n_trials, episode_size=5, floor=0.2, fall=fall)
    last = max(n_trials - 1, schedule.size)  # a plan of one trial is one random trial
    assert schedule.epsilon(0) == 1.0
    assert schedule.epsilon(last) == 0.2


def test_epsilon_falls_within_its_share_of_the_plan() -> None:
    schedule = EpsilonSchedule(n_trials=40, episode_size=5, floor=0.0, fall=0.5)
    epsilons = [round(schedule.epsilon(number), 3) for number in range(0, 40, 5)]
    assert epsilons == [1.0, 0.667, 0.333, 0.0, 0.0, 0.0, 0.0, 0.0]
    at_once = EpsilonSchedule(n_trials=40, episode_size=5, floor=0.0, fall=0.0)
    assert [at_once.epsilon(number) for number in (0, 4, 5)] == [1.0, 1.0, 0.0]
