"""When a search ends that has a time: worked out again as trials turn out slower or faster."""

from __future__ import annotations

import time
from collections.abc import Callable

from optuna.study import Study

from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.space import SearchSpace
from kdnas.study.deadline import Deadline, seconds_a_unit
from kdnas.study.optimize import RANDOM_SEARCH
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.storage import wait_for_storage
from kdnas.workflow.preparing.trials_spent import trials_left, trials_spent
from kdnas.workflow.searching.allot import split

SEARCHES = ("search", RANDOM_SEARCH)
# Between two looks at what there is time for.
EVERY_SECONDS = 15.0


def deadline_of(
    context: Context, space: SearchSpace, study: Study, jobs: int, *, control: bool
) -> Deadline:
    """When a search, or random search beside it, shall end.

    What the later steps of the plan need is kept for them; where they turn out shorter than
    planned, half of what is free is kept for trainings that the plan had no time for. The search
    leaves random search time for as many trials as it has itself.

    Args:
        context: Of the run; its time is limited.
        space: The candidates.
        study: The search's, or random search's.
        jobs: Candidates that this process scores side by side.
        control: Whether it is random search.
    """
    budget, settings = context.time, context.settings
    pruner = SuccessiveHalvingPruner(1 if control else settings.rungs, settings.reduction)
    known = seconds_a_unit(study.get_trials(deepcopy=False))
    each = budget.trial if known is None else known * pruner.full_cost
    free = max(0.0, budget.left - budget.reserve - budget.later(SEARCHES))
    if not control:
        free -= budget.claimed(free)
    done = (trials_spent(context), trials_spent(context, control=True))
    follows = not control and trials_left(context, control=True, space=space) > 0
    count, _ = split(free * jobs / each, done, control=follows)
    expected = max(1, round(done[control] + count))
    return Deadline(time.time() + count * each / jobs, expected, each)


def has_time(context: Context, jobs: int) -> bool:
    """Whether there is time for a trial of random search."""
    budget = context.time
    free = budget.left - budget.later(SEARCHES)
    return not budget.limited or free * jobs >= budget.trial


def keep_time(
    context: Context, space: SearchSpace, study: Study, jobs: int, *, control: bool
) -> Callable[[], None]:
    """Writes a search's end into its study; returns a function that corrects it now and then.

    Of a run without --budget, the end that it had by an earlier one is taken out.
    """
    if not context.time.limited:  # nor is that of a worker: its first process tells the end
        if context.settings.budget is None:
            wait_for_storage(lambda: Deadline.clear(study), say)
        return lambda: None

    def write() -> None:
        deadline_of(context, space, study, jobs, control=control).write(study)

    wait_for_storage(write, say)
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            wait_for_storage(write, say)

    return tick
