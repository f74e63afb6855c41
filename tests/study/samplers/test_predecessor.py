"""The predecessor's controller, which the replay on a table compares with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.errors import KdnasError
from studies import SMALL, Space, kinds, run

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks" / "tabular"))
import predecessor_sampler
from predecessor_sampler import (
    PredecessorControllerSampler,
    SubtractiveSchedule,
    new_controller,
    train_controller,
)


class SpacedPredecessor(PredecessorControllerSampler):
    """Knows the whole space from the first trial on, as kdnas does."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        return SMALL


def test_predictions_agree_with_the_forward_pass() -> None:
    rng = np.random.default_rng(0)
    sequences = rng.integers(0, 3, size=(12, 3, 2))
    controller = new_controller([3, 3], seed=1)
    train_controller(
        controller, sequences, rng.normal(size=12), seed=1, learning_rate=1e-2, passes=3
    )
    context = sequences[0, :2]
    together = np.concatenate([np.repeat(context[None], 12, axis=0), sequences[:, 2:]], axis=1)
    with torch.no_grad():
        expected = controller(torch.from_numpy(together)).numpy()
    assert controller.predict(context, sequences[:, 2]) == pytest.approx(expected, abs=1e-6)


def test_it_learns_rewards_as_they_are() -> None:
    sequences = np.array([[[2], [2], [0]], [[2], [2], [1]]] * 8)
    controller = new_controller([2], seed=0)
    rewards = np.array([5.0, 9.0] * 8)
    train_controller(controller, sequences, rewards, seed=0, learning_rate=3e-2, passes=60)
    predicted = controller.predict(sequences[0, :2], np.array([[0], [1]]))
    assert predicted == pytest.approx([5.0, 9.0], abs=0.5)


def test_epsilon_loses_the_same_step_each_episode_and_a_resumed_study_goes_on() -> None:
    def search(stops: int) -> Study:
        storage = InMemoryStorage()
        for _ in range(stops):
            options: dict[str, Any] = {"episode_size": 4, "epsilon_step": 0.25}
            study = optuna.create_study(
                storage=storage,
                study_name="study",
                direction="maximize",
                load_if_exists=True,
                sampler=SpacedPredecessor(3, **options),
            )
            run(study, 16 // stops, SMALL)
        return study

    whole, halves = search(1), search(2)
    assert kinds(whole) == "rrrr" + "rrrc" + "rrcc" + "rccc"
    assert [t.params for t in whole.trials] == [t.params for t in halves.trials]
    assert len({tuple(sorted(t.params.items())) for t in whole.trials}) == 16


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(KdnasError, match="epsilon_step must be at least 0, got -0.1"):
        PredecessorControllerSampler(epsilon_step=-0.1)


@pytest.mark.slow
def test_what_is_kept_between_episodes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def count(controller: Any, sequences: Any, *rest: Any, **options: Any) -> None:
        seen.append(len(sequences))
        train_controller(controller, sequences, *rest, **options)

    monkeypatch.setattr(predecessor_sampler, "train_controller", count)

    def search(*, forgets: bool) -> list[dict[str, Any]]:
        sampler = SpacedPredecessor(0, episode_size=3, epsilon_step=0.5)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(15):
            if forgets:
                sampler._cached_controller = None
            params = run(study, 1, SMALL)
        return params

    kept = search(forgets=False)
    assert seen == [3, 6, 9, 12]  # each episode is learnt from once
    assert search(forgets=True) == kept


def test_a_subtractive_epsilon_does_not_know_the_plan() -> None:
    schedule = SubtractiveSchedule(n_trials=15, episode_size=10, floor=0.1, step=0.05)
    assert schedule.size == 10
    assert [schedule.epsilon(number) for number in (0, 10, 50, 500)] == [1.0, 0.95, 0.75, 0.1]


def test_the_predecessor_counts_each_episode_by_itself() -> None:
    schedule = SubtractiveSchedule(n_trials=15, episode_size=8, floor=0.05, step=0.5)
    assert [schedule.is_random(number) for number in range(8, 16)] == [True] * 4 + [False] * 4
    assert not any(schedule.is_random(number) for number in range(16, 800))
