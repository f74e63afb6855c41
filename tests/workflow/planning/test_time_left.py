"""What a budget leaves of the epochs of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import create_trial
from support.stepwise import Stepwise

from kdnas.config import load_settings
from kdnas.files.artifact import json_artifact
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.runs.time_budget import TimeBudget
from kdnas.runtime.plan import Plan, Step
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.study.attributes import UNITS
from kdnas.workflow.planning.time_left import LEAST_SHARE, _share, epochs_beside, within_time
from kdnas.workflow.preparing.epochs_left import as_trained


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


@pytest.mark.parametrize(("left", "share"), [(9.0, LEAST_SHARE), (-9.0, 1.0)])
def test_a_student_trained_again_after_its_budget_has_all_epochs(
    make_run: Callable[..., Run], left: float, share: float
) -> None:
    plan = Plan([Step("distil student", "", {"task": 100.0}, "student")])
    budget = TimeBudget(3600.0, lambda: 3600.0 - left, plan)
    context = replace(open_context(make_run(budget="1h")), time=budget)
    json_artifact(context.run.folder / "student", {}).write("trained before")
    assert _share(context) == pytest.approx(share)


def test_students_of_a_run_that_was_finished_late_stay_whatever_time_is_left(
    make_run: Callable[..., Run],
) -> None:
    steps = Stepwise(make_run(budget="1h"))
    study, space = steps.open_study(), steps.space
    attributes = {"params": 9, "speedup": 2.0, "loss": 0.1, "reward": 1.0, UNITS: 1, "seconds": 1.0}
    known: dict[str, Any] = {"distributions": space.distributions, "user_attrs": attributes}
    study.add_trial(create_trial(value=1.0, params=space.params(space.candidates[0]), **known))
    meter = SimpleNamespace(shape_of=lambda one: one.architecture, teacher_params=1000)
    plan = Plan([Step("distil student", "", {"task": 100.0}, "student")])
    finish, little = TimeBudget(plan=plan), TimeBudget(3600.0, lambda: 3595.0, plan)
    for time in (finish, little):
        context: Any = replace(steps.context, time=time)
        prepared: Any = SimpleNamespace(context=context, inputs=steps.inputs, meter=meter)
        assert within_time(prepared, study) is prepared
    assert as_trained(context).settings.epochs_share == 1


def test_a_student_that_is_smaller_than_planned_has_more_epochs() -> None:
    """With less than 0.12 of the arithmetic 0.12 / (its share) times as many, three at most."""
    teacher = Architecture(6, 12, 384, 1536, "gelu")
    settings = load_settings((), {"recipe": "relations"})
    usual = Architecture(3, 12, 384, 768, "gelu")
    tiny = PrunedArchitecture.of(teacher, [4, 0, 0, 0, 0, 0], [96, 0, 0, 0, 0, 0])
    assert epochs_beside(tiny, teacher, settings, 0.12) == pytest.approx(3)
    assert epochs_beside(tiny, teacher, settings, 0.06) == pytest.approx(1.5)
    assert epochs_beside(usual, teacher, settings, 0.12) == pytest.approx(1)
    fixed = settings.model_copy(update={"more_epochs": False})
    assert epochs_beside(tiny, teacher, fixed, 0.12) == pytest.approx(1)
