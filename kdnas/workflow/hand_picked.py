"""What a person would pick without a search: first trials of a study, and the control."""

from __future__ import annotations

import math
import platform
from bisect import bisect_left
from dataclasses import replace
from typing import Any

from kdnas.runs.context import run_step
from kdnas.runtime.console import say
from kdnas.scoring.limits import Limits
from kdnas.space import NOT_PRUNED, Candidate
from kdnas.space.known_shapes import DEPTHS, hand_picked
from kdnas.workflow.prepare import Prepared


def first_picks(prepared: Prepared, like: Candidate) -> list[Candidate]:
    """What a person would try first: at each of several depths the widest within the limits.

    Half the teacher's layers first. `like` has the recipe and the vocabulary.
    """
    space, limits = prepared.inputs.space, _limits(prepared)

    def is_too_wide(candidate: Candidate) -> bool:
        found = prepared.meter.of_candidate(candidate)
        return limits.breaks(found.speedup, found.params)

    def compute() -> list[dict[str, Any]]:
        say("timing what a person would pick")
        found = []
        for depth in DEPTHS:
            shapes = hand_picked(space, like.architecture, depth)
            by_width = [replace(like, architecture=shape) for shape in shapes]
            # Wider ones are slower and larger: a few of them need be timed.
            count = bisect_left(by_width, True, key=is_too_wide)
            found += [one.params for one in by_width[:count][-1:]]
        return found

    key = {"like": like.params, "limits": str(limits), **_machine(prepared)}
    picked = run_step(prepared.context, "hand-picked within the limits", key, compute)
    return list(dict.fromkeys(map(Candidate.from_params, picked)))


def pick_by_hand(prepared: Prepared, like: Candidate, near: float) -> list[Candidate]:
    """Shapes half as deep as the teacher, one a width; the nearest in speed first.

    Those that break the run's limits come last.

    Args:
        prepared: Of the run.
        like: Has the recipe, where it is for shapes, and the vocabulary; its own shape is left out.
        near: The speed-up that they shall have.
    """
    space, limits = prepared.inputs.space, _limits(prepared)
    shapes = hand_picked(space, like.architecture)
    # One without layers has a recipe that is not for these.
    recipe = like.recipe if like.recipe in space.recipes else space.recipes[0]
    like = replace(like, pruning=NOT_PRUNED, recipe=recipe, assistants=())
    candidates = [replace(like, architecture=shape) for shape in shapes]

    def compute() -> list[tuple[float, int]]:
        say(f"timing {len(candidates)} hand-picked shapes")
        costs = map(prepared.meter.of_candidate, candidates)
        return [(found.speedup, found.params) for found in costs]

    key = {"candidates": [one.params for one in candidates], **_machine(prepared)}
    costs = run_step(prepared.context, "hand-picked shapes", key, compute)
    found = [
        (limits.breaks(speedup, params), abs(math.log(speedup / near)), candidate)
        for candidate, (speedup, params) in zip(candidates, costs, strict=True)
    ]
    return [candidate for *_, candidate in sorted(found, key=lambda one: one[:2])]


def _limits(prepared: Prepared) -> Limits:
    settings = prepared.context.settings
    return Limits(settings.speedup, settings.max_params)


def _machine(prepared: Prepared) -> dict[str, Any]:
    """What timings belong to."""
    return {"host": platform.node(), "environment": prepared.context.runtime.describe()}
