"""What a person would pick without a search: first trials of a study, and the control."""

from __future__ import annotations

import math
import platform
from dataclasses import replace

from kdnas.runs.context import run_step
from kdnas.runtime.console import say
from kdnas.scoring.limits import Limits
from kdnas.space import NOT_PRUNED, Candidate
from kdnas.space.known_shapes import DEPTHS, HALF, hand_picked
from kdnas.workflow.prepare import Prepared


def first_picks(prepared: Prepared, like: Candidate) -> list[Candidate]:
    """What a person would try first: at each of several depths the largest within the limits.

    Half the teacher's layers first. `like` has the recipe and the vocabulary.
    """
    picked = (pick_by_hand(prepared, like, depth=depth)[:1] for depth in DEPTHS)
    return list(dict.fromkeys(one for best in picked for one in best))


def pick_by_hand(
    prepared: Prepared, like: Candidate, *, near: float | None = None, depth: float = HALF
) -> list[Candidate]:
    """Shapes of one depth, one a width; those that keep the run's limits, the best guess first.

    Args:
        prepared: Of the run.
        like: Has the recipe, where it is for shapes, and the vocabulary; its own shape is left out.
        near: The speed-up that they shall have, even where the limits forbid all of them; None
            takes the largest first.
        depth: Their share of the teacher's layers.
    """
    settings, space = prepared.context.settings, prepared.inputs.space
    limits = Limits(settings.speedup, settings.max_params)
    shapes = hand_picked(space, like.architecture, depth)
    # One without layers has a recipe that is not for these.
    recipe = like.recipe if like.recipe in space.recipes else space.recipes[0]
    like = replace(like, pruning=NOT_PRUNED, recipe=recipe, assistants=())
    title = "hand-picked shapes" if depth == HALF else f"hand-picked shapes {depth:.2f} deep"
    costs = _timed(prepared, title, [replace(like, architecture=shape) for shape in shapes])
    found = []
    for shape, (speedup, params) in zip(shapes, costs, strict=True):
        broken = max(limits.violations(speedup, params).values(), default=0) > 0
        distance = abs(math.log(speedup / near)) if near else speedup
        if near or not broken:
            found.append((broken, distance, shape))
    return [replace(like, architecture=shape) for *_, shape in sorted(found)]


def _timed(prepared: Prepared, title: str, candidates: list[Candidate]) -> list[tuple[float, int]]:
    """Speed-up and parameters of each, timed once on each machine."""
    context = prepared.context

    def compute() -> list[tuple[float, int]]:
        say(f"timing {len(candidates)} {title}")
        costs = map(prepared.meter.of_candidate, candidates)
        return [(found.speedup, found.params) for found in costs]

    key = {
        "candidates": [candidate.params for candidate in candidates],
        "host": platform.node(),
        "environment": context.runtime.describe(),
    }
    return [(float(s), int(p)) for s, p in run_step(context, title, key, compute)]
