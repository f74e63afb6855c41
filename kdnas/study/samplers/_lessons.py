"""What samplers know from earlier studies, as rows of choice indices beside a study's own trials.

A lesson is an earlier student as the candidate of this space that it is nearest to, with its values
standardised within its own study (`kdnas.study.lessons` makes them). Controllers learn from it as
from a trial, with a flag that says so, at a weight that fades as the study's own trials come, and
the sooner the less its study ranks those trials as they came out. (Feurer et al. 2018, Practical
Transfer Learning for Bayesian Optimization, weigh earlier studies by the same.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from optuna.study import Study

from kdnas.study.attributes import LESSONS
from kdnas.study.samplers._candidates import CandidateSpace, Code, Codes, Floats

# All lessons together count as so many trials of a study's own, half of it after so many trials.
WORTH = 10
# Kendall's tau between an earlier study and this one that is expected beforehand, and the pairs of
# trials after which half of the trust is in what was seen.
EXPECTED_TAU, PAIRS = 0.25, 5
# The two values of the flag.
FLAG: Floats = np.array([-1.0, 1.0])


@dataclass(frozen=True)
class Lessons:
    """What earlier studies say of this space.

    Attributes:
        codes: Shape (lessons, parameters).
        scores: Shape (lessons, objectives), of mean 0 and variance 1; higher is better.
        constraints: Of each, feasible where none exceeds 0.
        studies: The number of the earlier study that each is of, shape (lessons,).
        places: Numeric value of each choice of each parameter, in [-1, 1].
    """

    codes: Codes
    scores: Floats
    constraints: Sequence[Mapping[str, float]]
    studies: Codes
    places: Sequence[Floats]

    @classmethod
    def of(cls, study: Study, space: CandidateSpace) -> Lessons:
        """Those of a study, none where it has none or they do not fit the space."""
        objectives = len(study.directions)
        known = [
            (code, lesson)
            for lesson in study.user_attrs.get(LESSONS, ())
            if (code := space.encode(lesson["params"])) is not None
            and len(lesson["scores"]) == objectives
        ]
        return cls(
            np.array([code for code, _ in known], np.int64).reshape(len(known), len(space.names)),
            np.array([one["scores"] for _, one in known], float).reshape(len(known), objectives),
            [one["constraints"] for _, one in known],
            np.array([one["study"] for _, one in known], np.int64),
            space.levels,
        )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def best(self) -> Code:
        """The architecture of the highest score, of several objectives in sum."""
        return tuple(self.codes[int(self.scores.sum(axis=1).argmax())].tolist())

    def weights(self, codes: Codes, scores: Floats) -> Floats:
        """What each counts beside the study's own trials, shape (lessons,).

        Args:
            codes: Of the trials, shape (trials, parameters).
            scores: Of each, higher is better; NaN where it was not trained.
        """
        known = np.isfinite(scores)
        count, codes, scores = int(known.sum()), codes[known], scores[known]
        each = min(1.0, WORTH / max(1, len(self))) * WORTH / (WORTH + count)
        found = np.zeros(len(self))
        for study in np.unique(self.studies):
            own = self.studies == study
            found[own] = each * self._trust(own, codes, scores)
        return found

    def _trust(self, own: npt.NDArray[np.bool_], codes: Codes, scores: Floats) -> float:
        """Kendall's tau between the lessons of a study and trials, from 0 to 1.

        The expected one, until there are pairs of trials to see it by.
        """
        ours, theirs = self._positions(codes), self._positions(self.codes[own])
        nearest = (
            np.abs(ours[:, None] - theirs[None]).sum(-1).argmin(1)
            if len(codes)
            else np.empty(0, int)
        )
        said = self.scores[own].sum(1)[nearest]
        agree = np.sign(said[:, None] - said) * np.sign(scores[:, None] - scores)
        pairs = len(codes) * (len(codes) - 1) / 2
        return max(0.0, float(agree.sum() / 2 + EXPECTED_TAU * PAIRS) / (pairs + PAIRS))

    def _positions(self, codes: Codes) -> Floats:
        """Numeric values of architectures, shape (architectures, parameters)."""
        return np.stack([place[codes[:, i]] for i, place in enumerate(self.places)], axis=1)

    def flagged(self, own: Codes, *, lessons: bool) -> Codes:
        """Architectures with the flag as one more parameter, where there are lessons at all."""
        if not len(self):
            return own
        return np.column_stack([own, np.full(len(own), int(lessons))])

    def levels(self, own: Sequence[Floats]) -> list[Floats]:
        """The levels of each parameter, with those of the flag where there are lessons."""
        return [*own, FLAG] if len(self) else [*own]
