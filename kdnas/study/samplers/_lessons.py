"""What samplers know from earlier studies, as rows of choice indices beside a study's own trials.

A lesson is an earlier student as the candidate of this space that it is nearest to, with its values
standardised within its own study (`kdnas.study.lessons` makes them). Controllers learn from it as
from a trial, with a flag that says so, at a weight that fades as the study's own trials come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.study import Study

from kdnas.study.attributes import LESSONS
from kdnas.study.samplers._candidates import CandidateSpace, Code, Codes, Floats

# All lessons together count as so many trials of a study's own, half of it after so many trials.
WORTH = 10
# The two values of the flag.
FLAG: Floats = np.array([-1.0, 1.0])


@dataclass(frozen=True)
class Lessons:
    """What earlier studies say of this space.

    Attributes:
        codes: Shape (lessons, parameters).
        scores: Shape (lessons, objectives), of mean 0 and variance 1; higher is better.
        constraints: Of each, feasible where none exceeds 0.
    """

    codes: Codes
    scores: Floats
    constraints: Sequence[Mapping[str, float]]

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
        )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def best(self) -> Code:
        """The architecture of the highest score, of several objectives in sum."""
        return tuple(self.codes[int(self.scores.sum(axis=1).argmax())].tolist())

    def weights(self, trials: int) -> Floats:
        """What each counts beside so many trials of the study's own, shape (lessons,)."""
        each = min(1.0, WORTH / max(1, len(self))) * WORTH / (WORTH + trials)
        return np.full(len(self), each)

    def flagged(self, own: Codes, *, lessons: bool) -> Codes:
        """Architectures with the flag as one more parameter, where there are lessons at all."""
        if not len(self):
            return own
        return np.column_stack([own, np.full(len(own), int(lessons))])

    def levels(self, own: Sequence[Floats]) -> list[Floats]:
        """The levels of each parameter, with those of the flag where there are lessons."""
        return [*own, FLAG] if len(self) else [*own]
