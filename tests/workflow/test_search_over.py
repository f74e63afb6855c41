"""What a search chooses from where nobody says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdnas.config import load_settings
from kdnas.workflow.search_over import with_search_over, with_speed_limit

BOTH = "shape,pruning"
RELATIONS = {
    "name": "relations",
    "data": "task",
    "losses": {"relations": 1, "logits": 1},
    "epochs": 1,
    "lr": 1e-3,
}


def chosen(teacher: Path, **options: Any) -> str:
    given = {"speedup": 2.0, "task": "mrpc", **options}
    return with_search_over(load_settings((), {**given, "teacher": str(teacher)})).search_over


def test_within_a_speed_up_pruned_students_are_tried_too(teacher_folder: Path) -> None:
    assert chosen(teacher_folder) == BOTH
    assert chosen(teacher_folder, budget="45m") == BOTH
    assert chosen(teacher_folder, stages=[RELATIONS]) == BOTH
    assert chosen(teacher_folder, speedup=None) == "shape"


@pytest.mark.parametrize(
    "options",
    [
        {"search_over": "shape"},
        {"budget": "2m"},
        {"inherit": False},
        {"recipe": "tinybert-task"},
        {"stages": [{**RELATIONS, "relation_student_layer": 1}]},
        {"architecture": "2x16", "speedup": None},
    ],
)
def test_not_where_it_is_said_or_cannot_be(teacher_folder: Path, options: dict[str, Any]) -> None:
    assert chosen(teacher_folder, **options) == "shape"


@pytest.mark.parametrize("family", ["albert", "t5"])
def test_not_for_teachers_that_cannot_be_pruned(
    make_teacher: Callable[..., Path], family: str
) -> None:
    assert chosen(make_teacher(family)) == "shape"


def test_what_else_is_chosen_stays(teacher_folder: Path) -> None:
    assert chosen(teacher_folder, recipes="states,logits") == "shape,recipe"


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 2.0),
        ({"trials": 5, "budget": "45m"}, 2.0),
        ({"speedup": 1.5}, 1.5),
        ({"speedup": "none"}, None),
        ({"max_params": 10**6}, None),
        ({"alpha": -0.3}, None),
        ({"cost": "params"}, None),
        ({"objective": "pareto"}, None),
        ({"architecture": "2x16"}, None),
    ],
)
def test_a_student_is_faster_than_its_teacher_unless_it_is_said(
    options: dict[str, Any], limit: float | None
) -> None:
    given = load_settings((), {"task": "mrpc", "teacher": "t", **options})
    assert with_speed_limit(given).speedup == limit
