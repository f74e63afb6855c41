"""What earlier studies, of other tasks and teachers, say of a study's candidates.

A shape is read as shares of its teacher's: spaces of other teachers agree on those. So a student of
an earlier study stands for the candidate here whose shares are nearest, and its score for that
one's rank among the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.config.recipe_name import RecipeName
from kdnas.scoring.limits import Limits
from kdnas.scoring.reward import limited_reward
from kdnas.space import AnyArchitecture, Architecture, Candidate, SearchSpace
from kdnas.space.architecture import OWN_SIZES
from kdnas.space.arithmetic import arithmetic
from kdnas.study.attributes import LESSONS
from kdnas.study.samplers._targets import standardise

# A study keeps them all in one attribute, which MySQL limits to 64 KB.
MOST = 200
# Another activation than the teacher's counts as a size that differs by this share.
OTHER_ACTIVATION = 0.05

Floats = NDArray[np.float64]
Lesson = dict[str, Any]


@dataclass(frozen=True)
class EarlierStudy:
    """A study that was searched before: its teacher's shape, its scored trials, its settings."""

    teacher: Architecture
    trials: Sequence[FrozenTrial]
    settings: Settings

    def candidate(self, trial: FrozenTrial) -> Candidate:
        """What a trial tried; a recipe that all of them had is called by its own name."""
        own = RecipeName.read(self.settings.recipe).short
        return Candidate.of_trial({"recipe": own, **trial.params}, self.settings)


def make_lessons(
    earlier: EarlierStudy,
    space: SearchSpace,
    settings: Settings,
    most: int = MOST,
    number: int = 0,
    teacher_params: int | None = None,
) -> list[Lesson]:
    """What a study says of the candidates of a space; empty where they have nothing in common.

    Nothing in common have encoders and encoder-decoders, shapes and pruned students, students with
    layers and without, and recipes of which this space has none.

    Args:
        earlier: The study.
        space: That of the study that learns.
        settings: Its objective and limits.
        most: Lessons at most; of more trials they are evenly spread by score, the best among them.
        number: Of the study among several.
        teacher_params: Of the space's teacher; default: those of its layers alone.
    """
    space = space.whole  # slow shapes stand for slow shapes
    seen = {earlier.candidate(trial): trial for trial in earlier.trials}
    known = [(here, t) for one, t in seen.items() if (here := _recipe_here(one, space)) is not None]
    if not known or bool(earlier.teacher.decoder) != bool(space.teacher.decoder):
        return []
    places = _nearest([one.architecture for one, _ in known], earlier.teacher, space)
    params = teacher_params or arithmetic(space.teacher)
    costs = [
        _cost(trial, earlier, settings, space.likely_params(space.architectures[place], params))
        for place, (_, trial) in zip(places, known, strict=True)
    ]
    teacher = float(params) if settings.cost == "params" else 1.0
    values = [
        _values(float(trial.user_attrs["loss"]), cost, teacher, settings)
        for cost, (_, trial) in zip(costs, known, strict=True)
    ]
    scores = np.stack([standardise(column)[0] for column in np.array(values).T], axis=1)
    limits = Limits(speedup=settings.speedup)
    order = np.argsort(-scores.sum(axis=1), kind="stable")
    if len(order) > most:
        order = order[np.linspace(0, len(order) - 1, most).round().astype(int)]
    return [
        {
            "params": space.params(
                Candidate(space.architectures[places[i]], known[i][0].recipe, space.vocabularies[0])
            ),
            "study": number,
            "scores": scores[i].round(4).tolist(),
            "constraints": limits.violations(float(known[i][1].user_attrs["speedup"]), 0),
        }
        for i in order.tolist()
    ]


def best_of(study: Study, space: SearchSpace) -> list[Candidate]:
    """The candidates that a study's lessons speak of, the best first: by their mean score.

    Those that were too slow for the limits are left out.
    """
    found: dict[Candidate, list[float]] = {}
    for lesson in study.user_attrs.get(LESSONS, ()):
        if all(value <= 0 for value in lesson["constraints"].values()):
            found.setdefault(space.candidate(lesson["params"]), []).append(sum(lesson["scores"]))
    return sorted(found, key=lambda one: -sum(found[one]) / len(found[one]))


def _recipe_here(candidate: Candidate, space: SearchSpace) -> Candidate | None:
    """An earlier candidate by a recipe of this space; None where there is none for it.

    Where this space has one recipe, shapes alone are compared.
    """
    shape = candidate.architecture
    if candidate.pruning or not isinstance(shape, Architecture) or shape.is_static:
        return None
    recipe = space.recipes[0] if len(space.recipes) == 1 else candidate.recipe
    return Candidate(shape, recipe) if recipe in space.recipes else None


def _nearest(
    shapes: Iterable[AnyArchitecture], teacher: Architecture, space: SearchSpace
) -> list[int]:
    """For each shape, which architecture of a space has the nearest shares of its teacher."""
    ours = _shares(space.architectures, space.teacher)
    theirs = _shares([shape for shape in shapes if isinstance(shape, Architecture)], teacher)
    return [int(np.abs(ours - one).sum(axis=1).argmin()) for one in theirs]


def _shares(shapes: Sequence[Architecture], teacher: Architecture) -> Floats:
    """Logarithms of shares of the teacher's sizes, whether the activation is another's, and how
    much narrower than the hidden size embeddings are.
    """
    own = np.log(_sizes(teacher))
    sizes = np.array([np.log(_sizes(shape)) for shape in shapes]) - own
    others = [
        [OTHER_ACTIVATION * (shape.hidden_act != teacher.hidden_act), _narrowing(shape)]
        for shape in shapes
    ]
    return np.hstack([sizes, np.array(others)])


def _sizes(shape: Architecture) -> list[int]:
    others = ("hidden_act", *OWN_SIZES)
    return [int(value) for name, value in shape.values.items() if value and name not in others]


def _narrowing(shape: Architecture) -> float:
    """The logarithm of the share of the hidden size that embeddings have; 0 where all of it."""
    return math.log((shape.embedding_size or shape.hidden_size) / shape.hidden_size)


def _cost(trial: FrozenTrial, earlier: EarlierStudy, settings: Settings, params: int) -> float:
    """The cost that settings weigh: parameters, or a share of the teacher's.

    `params` are those that its candidate has here, about. Of multiply-accumulates, the share in the
    layers' weights stands for the share in all: what the earlier teacher costs is not on record.
    """
    shape = earlier.candidate(trial).architecture
    if settings.cost == "params":
        return float(params)
    if settings.cost == "macs" and isinstance(shape, Architecture):
        return arithmetic(shape) / arithmetic(earlier.teacher)
    return 1 / float(trial.user_attrs["speedup"])


def _values(loss: float, cost: float, teacher_cost: float, settings: Settings) -> list[float]:
    """What a trial would be told for this study's objective, higher is better."""
    if settings.objective == "reward":
        return [limited_reward(loss, cost, teacher_cost, settings)]
    return [-loss, -cost]
