"""A sampler that learns what candidates give, and proposes what looks best."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from kdnas.errors import KdnasError
from kdnas.study.attributes import CHOICE_ATTR, EPSILON_ATTR, PROPOSAL_ATTR
from kdnas.study.samplers._candidates import CandidateSpace, Code, Codes, Floats
from kdnas.study.samplers._epsilon import EpsilonSchedule
from kdnas.study.samplers._history import (
    Observation,
    Rewarded,
    Turns,
    count_undecided,
    find_pending,
    find_taken,
    make_contexts,
    observe,
    settle,
)
from kdnas.study.samplers._lessons import Lessons
from kdnas.study.samplers._predictor import Evidence, Predictor
from kdnas.study.samplers._processes import GaussianProcesses
from kdnas.study.samplers._targets import Targets, finite_constraints, scalarise
from kdnas.study.samplers._ways import CONTRAST, NEIGHBOURS, WHOLE, contrast, nearest_first, way_of

# Independent streams of random numbers under one seed.
PICK_STREAM, POOL_STREAM, WEIGHTS_STREAM, NETWORK_STREAM, INDEPENDENT_STREAM = range(5)
_MIN_OBSERVATIONS = 2
# A probability from which on an architecture counts as feasible. An infeasible one is found out
# before it is trained, while the best one often lies right at the constraint; but finding out takes
# time, too, so that after an infeasible one the next is probably not.
_LIKELY, _SAFE = 0.2, 0.5


class SurrogateSampler(BaseSampler):
    """Proposes the architecture that a model of the search space predicts to be the best.

    Trials come in episodes. The first is random; afterwards the model learns from all finished
    trials, and every valid architecture that was not tried yet is scored: the mean prediction of
    the model's members plus a share of their spread. Models are Gaussian processes, see
    `kdnas.study.samplers._processes`, or an ensemble of LSTMs, see
    `kdnas.study.samplers._controller`. Networks that learnt from the same trials err alike: with
    them and one objective, every third trial goes to a neighbour of the best one, and every third
    is ranked by another score, see `kdnas.study.samplers._ways`.

    It learns from more than complete trials. Infeasible ones (`trial.set_constraint`, above 0)
    teach where the constraints hold: the score falls where that is unlikely.
    Trials that were stopped at a rung and told as pruned, with the user attributes `rung` and
    `rung_values`, count half of a complete one, their values shifted to those of a full training.

    Where the study has lessons of earlier ones (its attribute `lessons`), the model learns from
    them, too, and the first proposal is not random, see `kdnas.study.samplers._lessons`.

    A proposal depends on the seed, the trial's turn and the trials in the study alone, so that a
    study that is resumed with a new sampler of the same seed continues as if it had never stopped.
    Every proposal is marked in the trial's system attributes, see `kdnas.study.attributes`.

    An architecture is tried once: not again while it waits, runs, or was completed or pruned, nor
    after it failed twice (one failure may be a killed process). When no other is left, the best
    score of all is proposed.

    In a study whose search space is not given (`study.optimize`), the space is the intersection
    of the finished trials' and the first trials are sampled parameter by parameter, where
    `is_valid` can't be asked. Numeric ranges of more than 64 values are read as a grid of 16.

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
        predictor: The model; default: Gaussian processes.
        curiosity: Weight of the members' spread in the score.

    Raises:
        KdnasError: An argument is out of its range.
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
        predictor: Predictor | None = None,
        curiosity: float = 0.5,
    ) -> None:
        for name, value in {"n_trials": n_trials, "episode_size": episode_size}.items():
            refuse_below(1, name, value)
        refuse_below(0, "curiosity", curiosity)
        for name, share in {"epsilon_floor": epsilon_floor, "epsilon_fall": epsilon_fall}.items():
            if not 0 <= share <= 1:
                raise KdnasError(f"{name} must lie between 0 and 1, got {share}")
        if seed is not None and seed < 0:
            raise KdnasError(f"seed must not be negative, got {seed}")
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._schedule = EpsilonSchedule(n_trials, episode_size, epsilon_floor, epsilon_fall)
        self._is_valid = is_valid
        self._predictor = GaussianProcesses() if predictor is None else predictor
        self._curiosity = curiosity
        self._cached_space: tuple[str, CandidateSpace | None] = ("", None)

    def reseed_rng(self) -> None:
        """Nothing to do: each trial's draws have their own seed, in every thread and process."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that all finished trials share."""
        return intersection_search_space(study.get_trials(deepcopy=False), include_pruned=True)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """At random, where there is no shared space yet."""
        rng = self._rng(trial.number, INDEPENDENT_STREAM, zlib.crc32(param_name.encode()))
        sampler = RandomSampler(seed=int(rng.integers(2**32)))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One architecture."""
        if not search_space:
            self._mark(study, trial, "random", None)
            return {}
        space = self._space(search_space)
        trials = study.get_trials(deepcopy=False)
        turns = Turns(trials)
        turn = turns.of(trial.number)
        others = [other for other in trials if other.number != trial.number]
        seen = [replace(one, number=turns.of(one.number)) for one in observe(others, space)]
        trained = self._rewarded(seen, study.directions, turn)
        best = max(trained, key=lambda one: one.reward).code if trained else None
        codes = space.candidates(self._rng(turn, POOL_STREAM), best)
        untried = codes[_not_in(find_taken(others, space, failures=1), codes)]
        if not len(untried):  # what failed once is tried again last
            untried = codes[_not_in(find_taken(others, space), codes)]
        pool = untried if len(untried) else codes
        scores, lessons = None, Lessons.of(study, space)
        # Lessons choose the first proposal; the random ones after it show what they are worth.
        taught = len(lessons) and not any(turns.chose(one, trial.number) for one in others)
        if taught or not (len(untried) and self._schedule.is_random(turn)):
            pending = find_pending(others, space)
            scores = self._score(study, seen, space, pool, pending, turn, lessons)
        # Workers that start at one moment see the same history, and would all choose the same:
        # the best are left to those before.
        ahead = count_undecided(others, trial.number)
        return space.decode(self._choose(study, trial, space, pool, scores, ahead, turn))

    def _choose(
        self,
        study: Study,
        trial: FrozenTrial,
        space: CandidateSpace,
        pool: Codes,
        scores: Floats | None,
        ahead: int,
        turn: int,
    ) -> Code:
        """By score or at random; signs it, and again if another worker signed the same meanwhile.

        Of two that choose the same at one moment each sees the other, as both sign first.
        """
        rng = self._rng(turn, PICK_STREAM)
        while True:
            if scores is None:
                index = int(rng.integers(len(pool)))
            else:
                order = np.argsort(-scores, kind="stable")
                index = int(order[min(ahead, len(order) - 1)])
            code: Code = tuple(pool[index].tolist())
            kind = "random" if scores is None else "controller"
            self._mark(study, trial, kind, dict(zip(space.names, code, strict=True)))
            others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            taken = find_taken(others, space)
            left = _not_in(taken, pool)
            if code not in taken or not left.any():
                return code
            pool, scores = pool[left], None if scores is None else scores[left]

    def _score(
        self,
        study: Study,
        observations: Sequence[Observation],
        space: CandidateSpace,
        pool: Codes,
        pending: Codes,
        turn: int,
        lessons: Lessons,
    ) -> Floats | None:
        """How good each architecture of the pool looks; None if there is too little data.

        Others are trying those that are pending.
        """
        seen = settle(observations)
        trained = self._rewarded(seen, study.directions, turn)
        if len(trained) >= _MIN_OBSERVATIONS or len(lessons):
            targets = Targets(seen, study.directions, lessons)
            # Where the last episode has none, the best so far stands twice.
            best = max(trained, key=lambda one: one.reward).code if trained else lessons.best
            context = make_contexts(trained, [turn], self._schedule.size, best)[0]
        else:  # nothing to climb yet; where constraints hold can be learnt all the same
            seen = [replace(one, values=()) for one in seen if finite_constraints(one)]
            if len(seen) < _MIN_OBSERVATIONS:
                return None
            targets = Targets(seen, ())
            nearest = min(seen, key=lambda one: max(finite_constraints(one).values()))
            context = np.array([nearest.code, nearest.code])
        own = np.array([one.code for one in seen], np.int64).reshape(len(seen), len(space.names))
        earlier = lessons.flagged(lessons.codes, lessons=True)
        context = lessons.flagged(context, lessons=False)
        evidence = Evidence(
            lessons.levels(space.levels),
            lessons.levels(space.log_levels),
            context,
            np.concatenate([lessons.flagged(own, lessons=False), earlier]),
            targets.scaled,
            targets.weights,
            lessons.flagged(pending, lessons=False),
            lessons.flagged(pool, lessons=False),
            int(self._rng(turn, NETWORK_STREAM).integers(2**63)),
        )
        predicted = self._predictor.predict(evidence)
        log_feasible = targets.log_feasibility(predicted)
        if not targets.objectives:
            return log_feasible
        rewards = targets.rewards(predicted, self._rng(turn, WEIGHTS_STREAM))
        score = rewards.mean(axis=0) + self._curiosity * rewards.std(axis=0)
        way = WHOLE
        if self._predictor.errs_alike:
            way = way_of(len(seen), len(trained), len(study.directions))
        if way == CONTRAST:
            codes = np.array([one.code for one in trained])
            score = contrast(pool, codes, [one.reward for one in trained], space.sizes)
        broke = bool(seen) and seen[-1].values is None
        feasible = np.minimum(1.0, np.exp(log_feasible) / (_SAFE if broke else _LIKELY))
        score = np.asarray((score - score.min()) * feasible)
        return nearest_first(score, pool, best) if way == NEIGHBOURS else score

    def _rewarded(
        self, seen: Sequence[Observation], directions: Sequence[StudyDirection], turn: int
    ) -> list[Rewarded]:
        """The trained among the observations; several objectives by the trial's weights."""
        trained = [one for one in seen if one.values is not None]
        if not trained:
            return []
        values = np.array([one.values for one in trained])
        rewards = scalarise(values, directions, self._rng(turn, WEIGHTS_STREAM)).tolist()
        return [Rewarded(s.number, s.code, r) for s, r in zip(trained, rewards, strict=True)]

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *key))

    def _space(self, search_space: Mapping[str, BaseDistribution]) -> CandidateSpace:
        # The latest one only: is_valid is asked for each architecture once, not once a trial.
        key = repr(sorted(search_space.items()))
        cached_key, space = self._cached_space
        if key != cached_key or space is None:
            space = CandidateSpace(search_space, self._is_valid)
            self._cached_space = (key, space)
        return space

    def _mark(
        self, study: Study, trial: FrozenTrial, kind: str, choice: dict[str, int] | None
    ) -> None:
        storage, turns = study._storage, Turns(study.get_trials(deepcopy=False))
        epsilon = self._schedule.epsilon(turns.of(trial.number))
        # The choice first: other workers are waiting to see it.
        if choice is not None:
            storage.set_trial_system_attr(trial._trial_id, CHOICE_ATTR, choice)
        storage.set_trial_system_attr(trial._trial_id, PROPOSAL_ATTR, kind)
        storage.set_trial_system_attr(trial._trial_id, EPSILON_ATTR, epsilon)


def refuse_below(least: float, name: str, value: float) -> None:
    """Refuses an argument that is too small.

    Raises:
        KdnasError: It is.
    """
    if value < least:
        raise KdnasError(f"{name} must be at least {least}, got {value}")


def _not_in(taken: set[Code], codes: Codes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of some codes are not taken."""
    return np.array([tuple(row) not in taken for row in codes.tolist()], dtype=bool)
