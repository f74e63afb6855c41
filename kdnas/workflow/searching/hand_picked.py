"""What a person would pick without a search: first trials of a study, and the control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kdnas.runs.context import run_step
from kdnas.runtime.console import say
from kdnas.scoring.costs import CostMeter, Costs
from kdnas.scoring.limits import Limits
from kdnas.space import NOT_PRUNED, Candidate
from kdnas.space.known_shapes import DEPTHS, hand_picked
from kdnas.workflow.preparing.prepare import Prepared

# Speed-ups so near to each other, as a share, are the same.
AS_FAST = 0.05
# Standard error of a median of some 20 passes, in distances of their quartiles.
UNSURE = 0.2


def first_picks(prepared: Prepared, like: Candidate) -> list[Candidate]:
    """What a person would try first: at each of several depths the widest within the limits.

    Half the teacher's layers first. `like` has the recipe and the vocabulary.
    """
    space, limits = prepared.inputs.space, Limits.of(prepared.context.settings)

    def compute() -> list[dict[str, Any]]:
        say("timing what a person would pick")
        by_depth = [
            [
                replace(like, architecture=shape)
                for shape in hand_picked(space, like.architecture, n)
            ]
            for n in DEPTHS
        ]
        return [candidate.params for candidate in _widest(prepared.meter, limits, by_depth)]

    key = {"like": like.params, "limits": str(limits), **prepared.context.machine}
    picked = run_step(prepared.context, "hand-picked within the limits", key, compute)
    return list(dict.fromkeys(map(Candidate.from_params, picked)))


def _widest(
    meter: CostMeter, limits: Limits, by_depth: Sequence[Sequence[Candidate]]
) -> list[Candidate]:
    """Of each list of ever wider candidates the widest that keeps the limits, where one does.

    Wider ones are slower and larger, so that each list is halved again and again; candidates from
    the middle of all lists are timed in one go.
    """
    ends = [(0, len(widths)) for widths in by_depth]  # how many of a list keep them: least, most
    while open_ones := [i for i, (low, high) in enumerate(ends) if low < high]:
        middles = [sum(ends[i]) // 2 for i in open_ones]
        costs = meter.of_candidates(
            [by_depth[i][at] for i, at in zip(open_ones, middles, strict=True)]
        )
        for i, at, cost in zip(open_ones, middles, costs, strict=True):
            breaks = limits.breaks(cost.speedup, cost.params)
            ends[i] = (ends[i][0], at) if breaks else (at + 1, ends[i][1])
    return [widths[low - 1] for widths, (low, _) in zip(by_depth, ends, strict=True) if low]


def pick_by_hand(prepared: Prepared, like: Candidate, near: float) -> list[Candidate]:
    """Shapes half as deep as the teacher, one a width; the nearest in speed first.

    Of those that are as near as timing can tell the largest comes first; those that break the run's
    limits come last.

    Args:
        prepared: Of the run.
        like: Has the recipe, where it is for shapes, and the vocabulary; its own shape is left out.
            What it is pruned to is a limit, too, where the run asks for several speed-ups.
        near: The speed-up that they shall have.
    """
    space, limits = prepared.inputs.space, Limits.of(prepared.context.settings, like.pruning)
    shapes = hand_picked(space, like.architecture)
    # One without layers has a recipe that is not for these.
    recipe = like.recipe if like.recipe in space.recipes else space.recipes[0]
    like = replace(like, pruning=NOT_PRUNED, recipe=recipe, assistants=())
    candidates = [replace(like, architecture=shape) for shape in shapes]

    def compute() -> list[dict[str, Any]]:
        say(f"timing {len(candidates)} hand-picked shapes")
        return [costs.numbers for costs in prepared.meter.of_candidates(candidates)]

    key = {
        "candidates": [one.params for one in candidates],
        "kept": "costs",
        **prepared.context.machine,
    }
    made = run_step(prepared.context, "hand-picked shapes", key, compute)
    costs = [Costs(**found) for found in made]
    order = sorted(nearest_first(costs, near), key=lambda i: _breaks(limits, costs[i]))
    return [candidates[i] for i in order]


def nearest_first(costs: Sequence[Costs], near: float) -> list[int]:
    """Places of costs, the nearest to a speed-up first; those that are as near by their size."""
    apart = [abs(math.log(one.speedup / near)) for one in costs]
    first = min(range(len(costs)), key=apart.__getitem__, default=0)

    def rank(i: int) -> tuple[bool, float]:
        unsure = max(AS_FAST, UNSURE * costs[first].latency_iqr_ms / costs[first].latency_ms)
        as_near = apart[i] <= apart[first] + unsure
        return not as_near, -costs[i].params if as_near else apart[i]

    return sorted(range(len(costs)), key=rank)


def _breaks(limits: Limits, costs: Costs) -> bool:
    return limits.breaks(costs.speedup, costs.params)
