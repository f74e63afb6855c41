"""The vocabularies of students, as settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.config import load_settings, settings_of
from kdnas.config.vocabulary import least_count
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import dump


def test_a_name_says_how_often_a_token_must_occur() -> None:
    assert [least_count(name) for name in ("teacher", "task", "task-20")] == [0, 1, 20]


def test_one_vocabulary_is_no_choice() -> None:
    for given in ({"vocabulary": "task"}, {"vocabularies": ["task"]}):
        settings = load_settings(None, given)
        assert settings.vocabulary_names == ("task",) and settings.search_over == "shape"
        assert settings.mini_score == "hidden"


def test_several_are_searched_over_by_the_score_that_compares_them() -> None:
    settings = load_settings(None, {"vocabularies": "teacher, task-3"})
    assert settings.vocabulary_names == ("teacher", "task-3")
    assert settings.search_over == "shape,vocabulary" and settings.scores_agreement
    both = load_settings(None, {"vocabularies": "task,task-3", "recipes": "default,pkd"})
    assert both.search_over == "shape,recipe,vocabulary" and both.offered.keys() == {
        "default",
        "pkd",
    }
    assert settings_of(both, "pkd").recipe == "pkd"


def test_a_search_over_vocabularies_names_the_usual_ones() -> None:
    settings = load_settings(None, {"search_over": "shape,vocabulary"})
    assert settings.vocabulary_names == ("teacher", "task", "task-5")


def test_a_run_reads_its_own_settings_again(tmp_path: Path) -> None:
    kept = tmp_path / "config.yaml"
    settings = load_settings(None, {"vocabularies": "task,task-3", "recipes": "default,pkd"})
    kept.write_text(dump(settings))
    for again in (load_settings((), {}, kept), load_settings([kept], {})):
        assert again == settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vocabulary": "tasks"}, "invalid --vocabulary tasks: there is no vocabulary 'tasks'"),
        ({"vocabulary": "task-0"}, "expected teacher, task, or task-N"),
        ({"vocabulary": "task-1"}, "task-1 is called task"),
        ({"vocabularies": "task,task"}, "invalid --vocabularies task,task: one stands there twice"),
        ({"vocabularies": "task,b"}, "invalid --vocabularies task,b: there is no vocabulary 'b'"),
        ({"vocabulary": "task", "vocabularies": "task,task-2"}, "--vocabulary and --vocabularies"),
        (
            {"vocabularies": "teacher,task", "search_over": "shape"},
            "--search-over shape and --vocabularies teacher,task contradict",
        ),
        (
            {"vocabularies": "teacher,task", "mini_score": "hidden"},
            "invalid --mini-score hidden: it does not compare vocabularies",
        ),
        (
            {"vocabularies": "teacher,task", "mask_probability": 0.1},
            "invalid --mask-probability 0.1: for agreement, students with vocabulary task are",
        ),
        (
            {"vocabulary": "task", "recipes": "default,pkd", "mask_probability": 0.3},
            "invalid --mask-probability 0.3: for agreement, students with vocabulary task are",
        ),
        (
            {"vocabulary": "task-2", "mini_score": "agreement", "mask_probability": 0.3},
            "invalid --mask-probability 0.3: for agreement, students with vocabulary task-2 are",
        ),
        (
            {"vocabularies": "teacher,task", "architecture": "half"},
            "--vocabularies and --architecture contradict",
        ),
    ],
)
def test_contradictions_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        load_settings(None, given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_masks_suit_a_smaller_vocabulary_that_is_scored_by_hidden_states() -> None:
    given = {"vocabulary": "task", "mask_probability": 0.3}
    assert load_settings(None, given).mask_probability == 0.3
