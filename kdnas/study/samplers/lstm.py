"""A sampler whose proposals come from an ensemble of recurrent predictors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.study import Study, StudyDirection
from scipy.stats import norm

from kdnas.errors import KdnasError
from kdnas.study.samplers._candidates import CandidateSpace, Codes
from kdnas.study.samplers._controller import predict, train_controllers
from kdnas.study.samplers._episodes import (
    NETWORK_STREAM,
    WEIGHTS_STREAM,
    EpisodeSampler,
    EpsilonSchedule,
    Floats,
    refuse_below,
)
from kdnas.study.samplers._history import Observation, Rewarded, make_contexts, settle
from kdnas.study.samplers._rewards import (
    chebyshev,
    hypervolume_gain,
    scalarise,
    signs,
    standardise,
)

_MIN_OBSERVATIONS = 2
_RUNG_WEIGHT = 0.5
# Deviation of a standardised constraint below which the ensemble is not believed to be certain.
_LEAST_DOUBT = 0.3
# A probability from which on an architecture counts as feasible. An infeasible one is found out
# before it is trained, while the best one often lies right at the constraint.
_LIKELY = 0.2


class LSTMControllerSampler(EpisodeSampler):
    """Proposes the architecture that an ensemble of LSTMs predicts to be the best.

    Trials come in episodes. The first is random; afterwards every valid architecture that was not
    tried yet is scored by controllers trained on all finished trials, see
    :mod:`kdnas.study.samplers._controller`. The score is the mean prediction plus a share of the
    ensemble's spread.

    It learns from more than complete trials. Infeasible ones (``trial.set_constraint``, above 0)
    teach where the constraints hold: the score falls where that is unlikely.
    Trials that were stopped at a rung and told as pruned, with the user attributes ``rung`` and
    ``rung_values``, count half of a complete one, their values shifted to those of a full training.

    In a study whose search space is not given (``study.optimize``), the space is the intersection
    of the finished trials' and the first trials are sampled parameter by parameter, where
    ``is_valid`` can't be asked. Numeric ranges of more than 64 values are read as a grid of 16.

    Args:
        seed: Non-negative; None draws one.
        n_trials: Planned total of trials, over all resumptions. Epsilon, the share of random
            trials, reaches its floor within them; the study may stop earlier or go on.
        episode_size: Most trials in an episode; a third of the plan at most.
        epsilon_floor: Share of random trials at last, between 0 and 1.
        epsilon_fall: Share of the plan within which epsilon falls from 1 to the floor, between 0
            and 1. At 0 only the first episode is all random.
        is_valid: Says whether a full set of parameters is an architecture. Must be pure, as its
            answers are kept. None accepts all.
        members: Networks in the ensemble.
        steps: Of Adam on all finished trials together. The controllers are trained afresh for
            each of their proposals.
        learning_rate: Adam's highest.
        curiosity: Weight of the ensemble's spread in the score.

    Raises:
        KdnasError: If an argument is out of its range.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        n_trials: int = 100,
        episode_size: int = 5,
        epsilon_floor: float = 0.0,
        epsilon_fall: float = 0.0,
        is_valid: Callable[[dict[str, Any]], bool] | None = None,
        members: int = 5,
        steps: int = 60,
        learning_rate: float = 1e-2,
        curiosity: float = 0.5,
    ) -> None:
        if not 0 <= epsilon_fall <= 1:
            raise KdnasError(f"epsilon_fall must lie between 0 and 1, got {epsilon_fall}")
        schedule = EpsilonSchedule(n_trials, episode_size, epsilon_floor, epsilon_fall)
        super().__init__(seed, schedule, is_valid)
        refuse_below(1, "members", members)
        refuse_below(1, "steps", steps)
        refuse_below(0, "curiosity", curiosity)
        if learning_rate <= 0:
            raise KdnasError(f"learning_rate must be positive, got {learning_rate}")
        self._members = members
        self._steps = steps
        self._learning_rate = learning_rate
        self._curiosity = curiosity

    def _score(
        self,
        study: Study,
        observations: Sequence[Observation],
        space: CandidateSpace,
        pool: Codes,
        number: int,
    ) -> Floats | None:
        seen = settle(observations)
        if sum(one.values is not None for one in seen) >= _MIN_OBSERVATIONS:
            targets = _Targets(seen, study.directions)
            context = self._context(seen, study.directions, number)
        else:  # nothing to climb yet; where constraints hold can be learnt all the same
            seen = [replace(one, values=()) for one in seen if _limits(one)]
            if len(seen) < _MIN_OBSERVATIONS:
                return None
            targets = _Targets(seen, ())
            nearest = min(seen, key=lambda one: max(_limits(one).values()))
            context = np.array([nearest.code, nearest.code])
        controllers = train_controllers(
            space.levels,
            context,
            np.array([one.code for one in seen]),
            targets.scaled,
            targets.weights,
            members=self._members,
            steps=self._steps,
            learning_rate=self._learning_rate,
            seed=int(self._rng(number, NETWORK_STREAM).integers(2**63)),
        )
        predicted = predict(controllers, context, pool)
        if not targets.objectives:
            return targets.log_feasibility(predicted)
        rewards = targets.rewards(predicted, self._rng(number, WEIGHTS_STREAM))
        score = rewards.mean(axis=0) + self._curiosity * rewards.std(axis=0)
        feasible = np.minimum(1.0, np.exp(targets.log_feasibility(predicted)) / _LIKELY)
        return np.asarray((score - score.min()) * feasible)

    def _context(
        self, seen: Sequence[Observation], directions: Sequence[StudyDirection], number: int
    ) -> Codes:
        """Return the best of the last episode and the best so far, shape (2, parameters)."""
        trained = [one for one in seen if one.values is not None]
        values = np.array([one.values for one in trained])
        rewards = scalarise(values, directions, self._rng(number, WEIGHTS_STREAM))
        rewarded = [
            Rewarded(one.number, one.code, float(reward))
            for one, reward in zip(trained, rewards, strict=True)
        ]
        best = trained[int(np.argmax(rewards))].code
        # Where the last episode has none, the best so far stands twice.
        context: Codes = make_contexts(rewarded, [number], self._schedule.size, best)[0]
        return context


class _Targets:
    """What the controllers are to predict: a column an objective, then a column a constraint.

    Without directions, constraints alone.

    Attributes:
        scaled: Shape (trials, columns), each column standardised, NaN where nothing was observed.
        weights: Of each trial, shape (trials,).
    """

    def __init__(
        self, observations: Sequence[Observation], directions: Sequence[StudyDirection]
    ) -> None:
        known = [_limits(seen) for seen in observations]
        keys = sorted({key for constraints in known for key in constraints})
        nothing = [np.nan] * len(directions)
        values = np.array([seen.values or nothing for seen in observations]) * -signs(directions)
        limits = [[constraints.get(key, np.nan) for key in keys] for constraints in known]
        # Margins: above 0 is feasible, so that higher is better here too.
        margins = -np.array(limits, dtype=float).reshape(len(observations), len(keys))
        # Lifted, the one infeasible trial among many might pass for feasible.
        columns = [standardise(column) for column in values.T]
        columns += [standardise(column, lift=False) for column in margins.T]
        self.objectives = len(directions)
        self.scaled = np.stack([scaled for scaled, _, _ in columns], axis=1)
        self.weights = np.array([1.0 if s.share == 1 else _RUNG_WEIGHT for s in observations])
        self._thresholds = [-mean / spread for _, mean, spread in columns[self.objectives :]]

    def rewards(self, predicted: Floats, rng: np.random.Generator) -> Floats:
        """Join the predicted objectives, shape (members, candidates).

        Two by what they would add to the front, more by random weights.
        """
        if self.objectives == 1:
            return np.asarray(predicted[:, :, 0])
        costs, seen = -predicted[:, :, : self.objectives], -self.scaled[:, : self.objectives]
        seen = seen[np.isfinite(seen).all(axis=1)]
        low, span = seen.min(axis=0), np.ptp(seen, axis=0)
        span = np.where(span > 0, span, 1.0)
        if self.objectives == 2:
            return hypervolume_gain((costs - low) / span, (seen - low) / span)
        return chebyshev((costs - low) / span, rng)

    def log_feasibility(self, predicted: Floats) -> Floats:
        """Return the logarithm of the probability that all constraints hold, (candidates,)."""
        log = np.zeros(predicted.shape[1])
        for threshold, margins in zip(
            self._thresholds, np.moveaxis(predicted[:, :, self.objectives :], 2, 0), strict=True
        ):
            doubt = np.hypot(margins.std(axis=0), _LEAST_DOUBT)
            log += norm.logcdf((margins.mean(axis=0) - threshold) / doubt)
        return log


def _limits(seen: Observation) -> dict[str, float]:
    return {key: value for key, value in seen.constraints.items() if math.isfinite(value)}
