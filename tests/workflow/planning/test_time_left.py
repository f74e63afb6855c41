"""What a budget leaves of the epochs of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.runs.time_budget import TimeBudget
from kdnas.runtime.plan import Plan, Step
from kdnas.workflow.planning.time_left import LEAST_SHARE, _share


@pytest.mark.parametrize(
    ("left", "share"),
    [(100.0, 1.0), (70.0, 0.5), (39.0, LEAST_SHARE), (9.0, LEAST_SHARE)],
)
def test_what_the_teacher_writes_takes_as_long_for_fewer_epochs(
    make_run: Callable[..., Run], left: float, share: float
) -> None:
    """Of 100 s, 40 are the teacher's: half of the epochs end after 70."""
    parts = {"teacher signal": 10.0, "pseudo-labels": 30.0, "states": 20.0, "task": 40.0}
    plan = Plan([Step("distil student", "", parts, "student")])
    budget = TimeBudget(3600.0, lambda: 3600.0 - left, plan)
    context = replace(open_context(make_run(budget="1h")), time=budget)
    assert _share(context) == pytest.approx(share)
