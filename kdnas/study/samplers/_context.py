"""What was known when a trial was proposed: the architectures that the controllers read first."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdnas.study.samplers._candidates import Code, Codes


@dataclass(frozen=True)
class Rewarded:
    """One finished trial: its number, its architecture, its reward (higher is better)."""

    number: int
    code: Code
    reward: float


def make_contexts(
    observations: Sequence[Rewarded], numbers: Sequence[int], episode_size: int, blank: Code
) -> Codes:
    """Return what was known before each trial of ``numbers``, shape (numbers, 2, parameters).

    The first row is the best architecture of the episode before the trial's own, the second the
    best of all trials with a lower number; ``blank`` where there is none.

    Args:
        observations: Ordered by number.
        numbers: Trial numbers.
        episode_size: Trials in an episode.
        blank: The code of no architecture.
    """
    best_in_episode: dict[int, Rewarded] = {}
    best_so_far: list[Rewarded] = []
    for seen in observations:
        episode = seen.number // episode_size
        best_in_episode[episode] = _better(best_in_episode.get(episode), seen)
        best_so_far.append(_better(best_so_far[-1] if best_so_far else None, seen))
    known = [seen.number for seen in observations]
    contexts = []
    for number in numbers:
        previous = best_in_episode.get(number // episode_size - 1)
        before = bisect.bisect_left(known, number)
        contexts.append(
            (
                previous.code if previous else blank,
                best_so_far[before - 1].code if before else blank,
            )
        )
    return np.asarray(contexts, dtype=np.int64)


def _better(incumbent: Rewarded | None, challenger: Rewarded) -> Rewarded:
    if incumbent is None or challenger.reward > incumbent.reward:
        return challenger
    return incumbent
