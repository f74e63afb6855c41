"""Candidates of a study that a person would pick, and what follows one that breaks a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from optuna.study import Study

from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.known_shapes import narrower
from kdnas.study.attributes import PICKED


def queue_pick(study: Study, space: SearchSpace, candidate: Candidate) -> None:
    """Queues a candidate that nobody proposed, unless the study has it."""
    study.enqueue_trial(space.params(candidate), user_attrs={PICKED: True}, skip_if_exists=True)


def queue_narrower(
    study: Study, space: SearchSpace, candidate: Candidate, violations: Mapping[str, float]
) -> None:
    """Queues what a person would try after a pick that breaks a limit: it, narrower.

    A busy machine may time a pick as too slow that was fast enough when it was picked; what a
    sampler proposes at random in its place may be far from it.

    Args:
        study: Has the pick.
        space: What the narrower one is from; nothing is queued where it has none.
        candidate: The pick; what is pruned has no width, nor have students without layers.
        violations: By how much it breaks each limit, see `Limits.violations`.
    """
    shape = candidate.architecture
    if candidate.pruning or not isinstance(shape, Architecture) or shape.is_static:
        return
    # Costs fall at least as fast as the width, without what does not depend on it.
    found = narrower(space.whole, shape, 1 / (1 + max(violations.values())))
    if found is not None:
        queue_pick(study, space, replace(candidate, architecture=found))
