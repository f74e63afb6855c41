"""Ways of ranking candidates: an ensemble that errs in one place errs there in every trial.

Left alone, the controllers keep to a region once they agree on it, as each network is trained on
the same trials. So two of three trials are ranked in other ways, which cannot be wrong alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdnas.study.samplers._candidates import Code, Codes, Floats

# By the number of finished trials, so that workers that start at one moment rank alike. The
# controllers' own ranking of the whole space stands between the others.
CONTRAST, WHOLE, NEIGHBOURS = range(3)
_GOOD = 0.25  # share of the trials that count as good ones
_LEAST_TRIALS = 8


def way_of(finished: int, trained: int, objectives: int) -> int:
    """How the next trial is chosen after so many finished ones, some of which were trained.

    With several objectives always by the controllers, whose score spreads over the whole front:
    the other ways know one best trial only.
    """
    way = finished % 3 if objectives == 1 else WHOLE
    enough = {CONTRAST: _LEAST_TRIALS, WHOLE: 0, NEIGHBOURS: 1}[way]
    return way if trained >= enough else WHOLE


def contrast(pool: Codes, codes: Codes, rewards: Sequence[float], sizes: Sequence[int]) -> Floats:
    """How much more often the best trials have a candidate's values than the others do.

    The logarithm of the ratio of two densities, each the product over parameters of how often a
    choice occurs, plus one: the tree-structured Parzen estimator of Bergstra et al., "Algorithms
    for Hyper-Parameter Optimization" (NeurIPS 2011), for choices without an order. What was tried
    seldom ranks above what was tried in vain.

    Args:
        pool: Candidates, shape (candidates, parameters).
        codes: Of the trials, shape (trials, parameters); two trials at least.
        rewards: Of the trials, higher is better. The best quarter is good, two at least.
        sizes: Choices of each parameter.
    """
    order = np.argsort(-np.asarray(rewards), kind="stable")
    cut = max(2, round(_GOOD * len(order)))
    total = np.zeros(len(pool))
    for parameter, size in enumerate(sizes):
        good, others = (
            np.bincount(codes[rows, parameter], minlength=size) + 1.0
            for rows in (order[:cut], order[cut:])
        )
        ratio = np.log(good / good.sum()) - np.log(others / others.sum())
        total += ratio[pool[:, parameter]]
    return total


def nearest_first(scores: Floats, pool: Codes, best: Code) -> Floats:
    """Scores by which candidates that differ in fewer parameters from the best trial come first.

    Local search: one change of the best at a time, as in White et al., "Exploring the Loss
    Landscape in Neural Architecture Search" (UAI 2021); among equally near ones the score decides.
    """
    apart = (pool != np.asarray(best)).sum(axis=1)
    span = scores.max() - scores.min() + 1.0
    return np.asarray(scores - span * apart)
