"""Mappings as people give them: on the command line, in a run's YAML, in a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.config import load_settings, validated
from kdnas.config.layer_mapping import mapping_in_words
from kdnas.errors import KdnasError
from kdnas.recipes.check import check_recipe
from kdnas.recipes.stages import loss_options
from kdnas.runs.run_folder import dump
from kdnas.space import Architecture

THREE = {3: ((3,), (6,), (9,))}
TEACHER = Architecture(12, 4, 8, 8, "gelu")


def students(*depths: int) -> list[Architecture]:
    return [Architecture(depth, 4, 8, 8, "gelu") for depth in depths]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("skip", "skip"),
        ("learned", "learned"),
        ("3,6,9", THREE),
        ([3, 6, 9], THREE),
        ({3: [3, 6, 9]}, THREE),
        ({"3": [[3], 6, [9]]}, THREE),
        ("1+2, 3", {2: ((1, 2), (3,))}),
        ([[1, 2], [3]], {2: ((1, 2), (3,))}),
        ("12", {1: ((12,),)}),
        (12, {1: ((12,),)}),
        ({3: [2, 4, 6], 2: [3, 6]}, {3: ((2,), (4,), (6,)), 2: ((3,), (6,))}),
    ],
)
def test_a_mapping_is_a_name_or_layers_by_depth(given: Any, expected: Any, tmp_path: Path) -> None:
    settings = validated({"mapping": given})
    assert settings.mapping == expected
    file = tmp_path / "config.yaml"
    file.write_text(dump(settings))
    assert load_settings([file], {}).mapping == expected
    if not isinstance(expected, dict) or len(expected) == 1:
        assert validated({"mapping": mapping_in_words(settings.mapping)}) == settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("skp", "invalid --mapping skp: expected skip+last, skip, last, evenly, learned, or the"),
        ("3,,9", "invalid --mapping 3,,9: expected skip+last, "),
        ("0,1", "expected skip+last, "),
        ([], "expected skip+last, "),
        ([[], [1]], "expected skip+last, "),
        ([1.5], "expected skip+last, "),
        ({}, "expected skip+last, "),
        ({"x": [1]}, "expected skip+last, "),
        ({3: [1, 2]}, "expected 3 entries for students of depth 3, found 2"),
        (True, "only switches take true or false"),
    ],
)
def test_other_mappings_are_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        validated({"mapping": given})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mapping": "3,6,9"},
            "stage 'mini-kd': invalid mapping 3,6,9: it has no entry for students of 2 layers; add "
            "2: [...], or give space: {num_hidden_layers: [3]}",
        ),
        (
            {"mapping": {2: [6, 13], 3: [3, 6, 9]}},
            "stage 'mini-kd': invalid mapping {2: 6,13, 3: 3,6,9}: the teacher has 12 layers and no"
            " layer 13",
        ),
        (
            {"mapping": {2: ["1+2", 9], 3: [3, 6, 9]}},
            "invalid --mapping {2: ['1+2', 9], 3: [3, 6, 9]}: expected",
        ),
        (
            {"mapping": {2: [[1, 2], 9], 3: [3, 6, 9]}, "shared_projection": True},
            "layers that share a projection need equally many",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused_before_any_training(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdnasError) as caught:
        check_recipe(validated(settings), TEACHER, students(2, 3))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_layers_that_fit_pass_also_of_what_scores_alone() -> None:
    check_recipe(validated({"mapping": {2: [6, 12], 3: [3, 6, 9]}}), TEACHER, students(2, 3))
    scored = validated(
        {"mapping": "3,6,9", "mini_losses": {"relations": 1}, "epochs": 0, "hidden_weight": 0}
    )
    with pytest.raises(KdnasError, match="no entry for students of 2 layers"):
        check_recipe(scored, TEACHER, students(2, 3))


@pytest.mark.parametrize("loss", ["attention", "first-token"])
def test_only_hidden_learns_a_map(loss: str) -> None:
    stage = {
        "name": "task", "data": "task", "losses": {"task": 1, loss: 1}, "epochs": 1, "lr": 1e-3,
        "mapping": "learned",
    }  # fmt: skip
    with pytest.raises(KdnasError, match="only hidden learns one; give the stage mapping: skip"):
        check_recipe(validated({"stages": [stage]}), TEACHER, students(2))


def test_losses_without_projections_have_a_default_of_their_own() -> None:
    stage = {"name": "task", "data": "task", "epochs": 1, "lr": 1e-3}
    stage |= {"losses": {"task": 1, "attention": 1, "hidden": 1}}
    for given, expected in (({}, "skip"), ({"mapping": "evenly"}, "evenly")):
        settings = validated({"stages": [stage], **given})
        (one,) = settings.stages
        assert loss_options("attention", one, settings).mapping == expected
        assert loss_options("hidden", one, settings).mapping == (
            given.get("mapping") or "skip+last"
        )


def test_a_learnt_map_is_scored_by_a_fixed_one() -> None:
    settings = validated({"mapping": "learned"})
    stage = settings.mini_stage
    assert loss_options("hidden", stage, settings).mapping == "learned"
    assert loss_options("hidden", stage, settings, scoring=True).mapping == "skip+last"


def test_losses_of_weight_0_are_not_asked_for_anything() -> None:
    stage = {"name": "task", "data": "task", "epochs": 1, "lr": 1e-3}
    stage |= {"losses": {"task": 1, "logits": 0, "attention": 0}}
    wide = Architecture(2, 2, 8, 8, "gelu")
    check_recipe(validated({"stages": [stage]}), TEACHER, [wide], has_head=False)
