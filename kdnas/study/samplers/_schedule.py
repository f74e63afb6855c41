"""How many trials of a search are random, and which."""

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

    Args:
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
        """Return the share of random trials in the episode of trial ``number``."""
        return float(self._share(number // self.size))

    def is_random(self, number: int) -> bool:
        """Return whether trial ``number`` is random: an episode's first ones are."""
        episode, position = divmod(number, self.size)
        return position < self._randoms(episode)

    def _randoms(self, episode: int) -> int:
        """Random trials of an episode."""
        before = self._shares_before(episode)
        until = before + self._share(episode)
        half = Fraction(1, 2)
        return math.floor(until * self.size + half) - math.floor(before * self.size + half)

    def _shares_before(self, episode: int) -> Fraction:
        """The sum of the shares of all episodes before one."""
        falling = min(episode, self._last)
        shares = sum((self._share(e) for e in range(falling)), Fraction(0))
        return shares + (episode - falling) * Fraction(str(self.floor))

    @property
    def _last(self) -> int:
        """The first episode at the floor."""
        fall = Fraction(str(self.fall))
        return max(1, math.floor(fall * (math.ceil(self.n_trials / self.size) - 1)))

    def _share(self, episode: int) -> Fraction:
        if episode == 0:
            return Fraction(1)
        # str: 0.1 means a tenth, not its nearest binary fraction.
        floor = Fraction(str(self.floor))
        return floor + (1 - floor) * max(Fraction(0), 1 - Fraction(episode, self._last))


@dataclass(frozen=True)
class SubtractiveSchedule(EpsilonSchedule):
    """The predecessor's: each episode takes the same step off epsilon, however long the plan.

    A plan of few episodes never gets near its floor.

    Args:
        step: What an episode takes off.
    """

    step: float = 0.05

    @property
    def size(self) -> int:
        """Trials in an episode, whatever the plan."""
        return self.episode_size

    def _share(self, episode: int) -> Fraction:
        return max(Fraction(str(self.floor)), 1 - episode * Fraction(str(self.step)))

    def _randoms(self, episode: int) -> int:
        """Each episode's share by itself, as the predecessor counted: at 0.05 of 8 none is left."""
        return math.floor(self._share(episode) * self.size + Fraction(1, 2))
