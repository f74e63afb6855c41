"""How a search divides its time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kdnas.errors import KdnasError
from kdnas.runs.time_budget import RESERVE, TimeBudget
from kdnas.runtime.plan import Plan, Step
from kdnas.workflow.searching.allot import Allotment, Work, allot, rounded_up, split, too_short

WORK = {Work("scoring", "fewer of them (--max-eval-rows)"): 90.0, Work("the trial", "x"): 57.4}
STUDENT, CONTROL = Step("distil student", "", {"a": 100.0}), Step("control x", "", {"a": 60.0})


def given(seconds: float, **changes: Any) -> Allotment:
    known: dict[str, Any] = {
        **{"before": 50.0, "trial": 10.0, "students": [STUDENT, CONTROL], "needed": 1},
        **{"report": lambda count: 20.0 * count, "done": (0.0, 0.0), "most": 1e6},
        **{"control": True, "begun": False, "work": WORK},
    }
    return allot(seconds, seconds, **{**known, **changes})


def test_the_parts_fill_the_time_but_for_the_reserve() -> None:
    found = given(1000)
    planned = 50 + 10 * (found.trials + found.random) + 100 + 60 + 2 * 20
    assert 1000 * (1 - RESERVE) - 20 < planned <= 1000 * (1 - RESERVE)
    assert abs(found.trials - found.random) <= 1
    assert found.students == [STUDENT, CONTROL] and not found.left_out
    alone = given(1000, control=False)
    assert alone.random == 0 and alone.trials == pytest.approx(found.trials * 2, abs=2)


def test_controls_give_way_to_trials_where_time_is_short() -> None:
    found = given(320)
    assert found.left_out == [CONTROL] and found.students == [STUDENT] and found.trials >= 3


def test_too_little_time_is_refused_with_the_least_that_fits() -> None:
    with pytest.raises(
        KdnasError, match="invalid --budget 2m: one trial, .* give --budget 3m30s or"
    ):
        given(120)
    assert given(210).trials >= 1
    # What has begun ends as soon as it can.
    late = given(120, begun=True, done=(3.0, 0.0))
    assert late.trials == 0 and late.students == [STUDENT]


def test_the_numbers_of_a_refusal_add_up() -> None:
    said = too_short(180.0, 31.2, before=40.3, least=107.1, work=WORK)
    assert said == (
        "invalid --budget 3m: one trial, its distillation in full and its evaluation take about "
        "1 min 48 s here, what comes before takes 41 s, 32 s have passed since the start and 9 s "
        "stay in reserve: 10 s too much; most of it is scoring, about 1 min 30 s; give "
        "--budget 3m30s or more, or fewer of them (--max-eval-rows)"
    )
    assert 108 + 41 + 32 + 9 - 180 == 10
    assert "what comes before" not in too_short(180.0, 31.2, before=0.0, least=147.1, work=WORK)


def test_a_refusal_names_no_remedy_where_there_is_none() -> None:
    said = too_short(180.0, 31.2, before=40.3, least=107.1, work={Work("writing the report"): 9.0})
    assert said.endswith("most of it is writing the report, about 9 s; give --budget 3m30s or more")


def test_short_times_are_rounded_up_by_little() -> None:
    assert [rounded_up(each) for each in (1, 125, 135, 299, 301)] == [15, 135, 135, 300, 360]


def test_a_number_of_trials_ends_it_as_well() -> None:
    found = given(1000, most=5.0)
    assert found.trials == 5 and found.random == 5


def test_a_search_that_is_over_trains_what_there_is_time_for() -> None:
    over: dict[str, Any] = {"before": 0.0, "begun": True, "done": (5.0, 5.0), "most": 5.0}
    found = given(300, **over)
    assert found.students == [STUDENT, CONTROL] and found.trials == found.random == 0
    assert given(200, **over).left_out == [CONTROL]
    made = {**over, "students": [CONTROL], "needed": 0}
    assert given(200, **made).students == [CONTROL]
    assert given(100, **made).left_out == [CONTROL]  # half of the rest does not pay for it


def test_what_was_tried_before_counts() -> None:
    assert split(20, (10, 0), control=True) == (5, 15)
    assert split(4, (10, 0), control=True) == (0, 4)
    assert split(20, (10, 0), control=False) == (20, 0)


def test_a_step_is_afforded_where_the_report_fits_behind_it() -> None:
    plan = Plan([CONTROL, Step("report", "", {"r": 30.0})], clock=lambda: 0.0)
    assert TimeBudget(100.0, lambda: 9.0, plan).affords("control x")
    assert not TimeBudget(100.0, lambda: 11.0, plan).affords("control x")
    free = CONTROL.seconds + 30.0
    for slower, needed in ((None, 2.0), (1.5, 1.5)):  # beside another
        plan.steps[0] = replace(CONTROL, slower=slower)
        left = needed * CONTROL.seconds + 30.0
        assert TimeBudget(left, lambda: 0.0, plan).affords("control x", 2)
        assert not TimeBudget(left - 1, lambda: 0.0, plan).affords("control x", 2)
        assert TimeBudget(free, lambda: 0.0, plan).affords("control x")
    outside = TimeBudget(100.0, lambda: 0.0, plan, [Step("distil y", "", {"a": 80.0})])
    assert not outside.affords("distil y") and outside.expected("distil y") == 80
    assert TimeBudget().affords("anything") and not TimeBudget().limited
