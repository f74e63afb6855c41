"""The share of random trials in each episode of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

_MIN_EPISODES = 3


@dataclass(frozen=True)
class EpsilonSchedule:
    """How many of an episode's trials are random, from all of the first to a floor.

    Episodes shrink where the plan is short, so that three trials are enough for the controller to
    be asked. The arithmetic is in fractions: as floats, 0.7 of 10 truncates to 6. What an episode
    is too short for is carried to the next: a twentieth of episodes of five is one trial in four.

    Attributes:
        n_trials: Planned total of trials.
        episode_size: Most trials in an episode.
        floor: Share of random trials once the share has fallen, and in any trial after the plan.
        fall: Share of the plan within which epsilon falls from 1 to the floor, evenly from episode
            to episode; one episode at least, so that the second may be at the floor already.
    """

    n_trials: int
    episode_size: int
    floor: float
    fall: float = 1.0

    @property
    def size(self) -> int:
        """Trials in an episode."""
        return min(self.episode_size, max(1, self.n_trials // _MIN_EPISODES))

    def epsilon(self, number: int) -> float:
        """The share of random trials in the episode of trial `number`."""
        return float(self._share(number // self.size))

    def is_random(self, number: int) -> bool:
        """Whether trial `number` is random: an episode's first ones are."""
        episode, position = divmod(number, self.size)
        return position < self._randoms(episode)

    def _randoms(self, episode: int) -> int:
        """Random trials of an episode."""
        falling = min(episode, self._first_at_floor)
        before = sum((self._share(e) for e in range(falling)), Fraction(0))
        before += (episode - falling) * Fraction(str(self.floor))
        half, until = Fraction(1, 2), before + self._share(episode)
        return math.floor(until * self.size + half) - math.floor(before * self.size + half)

    @property
    def _first_at_floor(self) -> int:
        fall = Fraction(str(self.fall))
        return max(1, math.floor(fall * (math.ceil(self.n_trials / self.size) - 1)))

    def _share(self, episode: int) -> Fraction:
        if episode == 0:
            return Fraction(1)
        # str: 0.1 means a tenth, not its nearest binary fraction.
        floor = Fraction(str(self.floor))
        return floor + (1 - floor) * max(Fraction(0), 1 - Fraction(episode, self._first_at_floor))
