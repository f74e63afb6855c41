"""What a sampler's model of the search space learns from, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kdnas.study.samplers._candidates import Codes, Floats


@dataclass(frozen=True)
class Evidence:
    """All that is known before a proposal, and the candidates to choose from.

    Attributes:
        levels: Numeric value of each choice of each parameter, in [-1, 1]; zeros where the choices
            have no order.
        log_levels: The same, by their logarithm where the choices are sizes.
        context: Best of the last episode and best so far, shape (2, parameters).
        codes: Of each trial, shape (trials, parameters).
        targets: Shape (trials, outputs), of mean 0 and variance 1; NaN where nothing is known.
        weights: Of each trial, from 0 to 1, shape (trials,).
        pending: Candidates that others try now, shape (pending, parameters).
        pool: Candidates to choose from, shape (candidates, parameters).
        seed: For what is drawn.
    """

    levels: Sequence[Floats]
    log_levels: Sequence[Floats]
    context: Codes
    codes: Codes
    targets: Floats
    weights: Floats
    pending: Codes
    pool: Codes
    seed: int


class Predictor(Protocol):
    """A model that is learnt afresh before each proposal.

    Attributes:
        errs_alike: Whether its members err alike where they err, so that some proposals should be
            made in other ways.
    """

    @property
    def errs_alike(self) -> bool: ...

    def predict(self, evidence: Evidence) -> Floats:
        """What each member predicts of the pool, shape (members, candidates, outputs)."""
