"""What was known before each trial."""

from __future__ import annotations

from kdnas.study.samplers._history import Rewarded, make_contexts


def test_contexts_hold_what_was_known_before_each_trial() -> None:
    rewards = [0.1, 0.5, 0.3, 0.2, 0.9]
    numbers = [0, 1, 2, 4, 5]
    observations = [
        Rewarded(number, (number,), reward) for number, reward in zip(numbers, rewards, strict=True)
    ]
    contexts = make_contexts(observations, [*numbers, 6, 9], episode_size=2, blank=(99,))
    assert contexts[:, :, 0].tolist() == [
        [99, 99],
        [99, 0],
        [1, 1],
        [2, 1],
        [2, 1],
        [5, 5],
        [99, 5],  # the episode before has no trial
    ]
