"""What a search looks for, and what it chooses from, where nobody says it."""

from __future__ import annotations

from contextlib import suppress

from kdnas.config import Settings
from kdnas.config.choices import PRUNING, SHAPE
from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.teachers.load import load_config, teacher_source
from kdnas.workflow.preparing.recipes_on_offer import check_one_recipe
from kdnas.workflow.preparing.run_space import space_of

# What is measured before pruned students can be made takes a minute or so: not in less time.
LEAST_SECONDS = 300
# A student is to be faster than its teacher: as fast as those with half of the layers, at least.
LEAST_SPEEDUP = 2.0
# Whoever sets one of these has said what a student is to cost.
SAY_THE_COST = ("speedup", "max_params", "alpha", "beta", "cost", "objective")


def with_speed_limit(settings: Settings) -> Settings:
    """Settings of a search that says how fast its student must be.

    The teacher's own shape has the best reward of all, as it loses nothing. So a search to which
    nobody gave a limit, or another idea of costs, looks for students of LEAST_SPEEDUP.
    """
    if not settings.searches or settings.model_fields_set & {*SAY_THE_COST}:
        return settings
    say(
        f"no limit is given: looking for students at least {LEAST_SPEEDUP:g} times as fast as the "
        "teacher (--speedup none for any)"
    )
    return settings.model_copy(update={"speedup": LEAST_SPEEDUP})


def with_search_over(settings: Settings) -> Settings:
    """Settings of a search that says what it chooses from.

    Within a speed-up it tries the teacher pruned to that, too: such students are often better than
    dense ones that are as fast (docs/results.md, Pruned students). It does not where the choice is
    given, time is short, or the teacher or the recipe cannot have them.
    """
    given, seconds = settings.model_fields_set, settings.budget_seconds
    chosen = not settings.searches or "search_over" in given or settings.speedup is None
    short = seconds is not None and seconds < LEAST_SECONDS
    if chosen or short or settings.outputs_alone or not settings.inherit:
        return settings
    with suppress(KdnasError):  # of the teacher or the recipe; what reads them says it better
        source = teacher_source(settings.base)
        config = load_config(source)
        now = settings.model_copy(update={"search_over": f"{SHAPE},{PRUNING}"})
        check_one_recipe(now, space_of(now, config, source), None, config)
        say(f"the teacher pruned to {settings.speedup:g}x is tried, too (--search-over)")
        return now
    return settings
