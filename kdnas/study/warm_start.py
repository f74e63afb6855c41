"""What a study tries first: what a person would pick, then shapes from the literature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from optuna.study import Study
from optuna.trial import TrialState

from kdnas.config import Settings
from kdnas.scoring.costs import CostMeter
from kdnas.scoring.limits import Limits, may_keep
from kdnas.space import Candidate, SearchSpace
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.space.known_shapes import known_shapes
from kdnas.study.attributes import WARM
from kdnas.study.lessons import best_of
from kdnas.study.optimize import expected_trials
from kdnas.study.picks import queue_pick
from kdnas.study.samplers.table import LEARNING

# One planned trial in this many; more of them cost a search more than they gave
# (docs/results/samplers.md).
WARM_START_SHARE = 8
# Within limits, few trials find little that is better than what a person would pick: those picks,
# or two shapes at least. They leave the sampler half of the trials, rounded down. Without limits
# one is enough.
LEAST_WITHIN_LIMITS, LEAST, PICKED_SHARE = 2, 1, 2
# One planned trial in this many is what was best in earlier studies.
LEARNT_SHARE = 8


def warm_start(
    study: Study,
    space: SearchSpace,
    settings: Settings,
    meter: CostMeter,
    picked: Sequence[Candidate] = (),
) -> None:
    """Queues candidates that a person would begin with, in a study that `may_begin`.

    The best guesses come first (`picked`): what a person would pick, what was best of many before
    any training. Published shapes and the corners of the space follow; of limits those that cost
    about as much as the first guess, and none that cannot keep them. Where the teacher may be
    pruned, that is tried right after the best guess (`pruned_first`). Of students without layers,
    where there are any, the widest is tried. Where recipes or vocabularies are to be chosen, the
    best guess is tried with each. What was best in earlier studies comes before published shapes,
    unless the sampler learns from those studies itself.
    """
    if not may_begin(study):
        return
    limits = Limits.of(settings)
    count = expected_trials(study, settings.trials)
    first = [c for c in published(space) if may_keep(limits, c, meter)]
    if picked and limits:
        like = meter.macs_of(picked[0])
        first.sort(key=lambda c: abs(math.log(meter.macs_of(c) / like)))
    guesses = [*picked[:1], *pruned_first(space, limits, meter), *picked[1:]]
    guesses += without_layers(space, limits, meter)
    guesses += variants(space, [*picked, *first][0]) if picked or first else []
    if settings.sampler not in LEARNING:
        guesses += [c for c in first_lessons(study, space, count) if may_keep(limits, c, meter)]
    guesses, first = list(dict.fromkeys(guesses)), list(dict.fromkeys((*guesses, *first)))
    least = max(
        LEAST_WITHIN_LIMITS if limits else LEAST, min(len(guesses), math.ceil(count / PICKED_SHARE))
    )
    for candidate in first[: min(count, max(least, count // WARM_START_SHARE))]:
        queue_pick(study, space, candidate)
    study.set_user_attr(WARM, True)


def may_begin(study: Study) -> bool:
    """Whether what a study begins with is still to be queued, at least in part.

    A process that is killed meanwhile leaves some of it queued, and no trial is begun before all of
    it is. Studies that an earlier kdnas began have no mark that they are warm, but such trials.
    """
    trials = study.get_trials(deepcopy=False)
    return WARM not in study.user_attrs and all(t.state == TrialState.WAITING for t in trials)


def first_lessons(study: Study, space: SearchSpace, count: int) -> list[Candidate]:
    """What was best in earlier studies, for the first of so many trials."""
    return best_of(study, space)[: max(1, count // LEARNT_SHARE)]


def published(space: SearchSpace) -> list[Candidate]:
    """Published shapes and the corners of a space, trained and spelled as usual."""
    usual = usual_candidate(space)
    return [replace(usual, architecture=shape) for shape in known_shapes(space)]


def pruned_first(space: SearchSpace, limits: Limits, meter: CostMeter) -> list[Candidate]:
    """The teacher pruned to a limit on the speed, or to the middle of what may keep the limits.

    They are one or two beside thousands of shapes, which chance would not try. None where nothing
    is pruned.
    """
    usual = usual_candidate(space)
    pruned = [replace(usual, pruning=one) for one in space.prunings]
    if to_limit := [one for one in pruned if one.pruning.speedup]:
        return to_limit
    fitting = [one for one in pruned if may_keep(limits, one, meter)]
    return fitting[len(fitting) // 2 :][:1]


def usual_candidate(space: SearchSpace) -> Candidate:
    """The teacher's shape, trained and spelled as a person does who does not choose."""
    return Candidate(space.teacher, usual_recipe(space), space.vocabularies[0])


def usual_recipe(space: SearchSpace) -> str:
    """The recipe that a person takes who does not choose: the default one, where it is there."""
    return DEFAULT_RECIPE if DEFAULT_RECIPE in space.recipes else space.recipes[0]


def variants(space: SearchSpace, candidate: Candidate) -> list[Candidate]:
    """A candidate with each other recipe and each other vocabulary of a space; itself first.

    None where there is nothing to choose.
    """
    found = [candidate]
    found += [replace(candidate, recipe=recipe) for recipe in space.recipes]
    found += [replace(candidate, vocabulary=name) for name in space.vocabularies]
    distinct = list(dict.fromkeys(found))
    return distinct if len(distinct) > 1 else []


def without_layers(space: SearchSpace, limits: Limits, meter: CostMeter) -> list[Candidate]:
    """Of each recipe for students without layers the widest one that may keep the limits."""
    widest_first = [
        [Candidate(shape, recipe, space.vocabularies[0]) for shape in reversed(space.statics)]
        for recipe in space.static_recipes
    ]
    fitting = (next((c for c in each if may_keep(limits, c, meter)), None) for each in widest_first)
    return [candidate for candidate in fitting if candidate is not None]
