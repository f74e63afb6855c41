"""Recipes: what a stage may be, and what a list of stages may be."""

from __future__ import annotations

from typing import Any

import pytest

from kdnas.config import Settings, validated
from kdnas.config.recipe import Stage
from kdnas.errors import KdnasError

GENERAL = {"name": "general", "data": "corpus", "losses": {"hidden": 1}, "epochs": 1, "lr": 1e-3}
TASK = {"name": "task", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-4}


def test_without_stages_the_options_make_the_recipe() -> None:
    hidden, task = Settings(epochs=2, task_epochs=4, temperature=3, logit_weight=0.5).full_stages
    assert (hidden.data, hidden.epochs, hidden.losses) == ("task", 2, {"hidden": 1})
    assert (task.epochs, task.temperature, task.losses["logits"]) == (4, 3, 0.5)
    assert not hidden.is_general and not task.is_general
    (alone,) = Settings(epochs=0).full_stages
    assert alone.name == "task"
    assert Settings(corpus="a.txt").full_stages[0].data == "corpus"
    assert not Settings(corpus="a.txt").full_stages[0].is_general


def test_a_stage_on_a_corpus_is_general_unless_the_task_teaches() -> None:
    assert Stage(**GENERAL).is_general
    assert not Stage(**GENERAL, teacher="task").is_general


def test_numbers_that_yaml_reads_as_texts_are_weights() -> None:
    stage = Stage(**{**GENERAL, "losses": {"hidden": "1e-1", "relations": ["1e-1", 0]}})
    assert stage.losses == {"hidden": 0.1, "relations": (0.1, 0.0)}


def test_stages_survive_the_way_through_a_file() -> None:
    weights = {"hidden": [1, 0], "logits": 0.5}
    settings = validated({"corpus": "a", "stages": [GENERAL, {**TASK, "losses": weights}]})
    assert settings.stages[1].losses == {"hidden": (1.0, 0.0), "logits": 0.5}
    assert validated(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([GENERAL, TASK], "stage 'general' learns from a corpus; name one with --corpus"),
        ([TASK, TASK], "two stages are called 'task'"),
        (3, "invalid --stages 3: expected a list"),
        ([3], "invalid --stages.0 3: expected a mapping"),
        (
            [{**TASK, "losses": {"task": -1}}],
            "invalid --stages.0.losses.task -1: expected a number from 0 to 1,000,000, or [first, ",
        ),
        (
            [{**TASK, "losses": {"task": [1, 2, 3]}}],
            "invalid --stages.0.losses.task [1, 2, 3]: expected a number",
        ),
        ([{**TASK, "losses": {"task": [1, -1]}}], "losses.task [1, -1]: expected a number"),
        ([{**TASK, "losses": {"task": True}}], "losses.task true: expected a number"),
        ([{**TASK, "losses": {"task": "nan"}}], "losses.task nan: expected a number"),
        (
            [{**TASK, "losses": [1]}],
            "invalid --stages.0.losses [1]: expected a mapping",
        ),
        ([{**TASK, "losses": {}}], "invalid --stages.0.losses {}: expected at least 1"),
        ([{**TASK, "losses": {"task": 0}}], "losses {'task': 0}: expected a weight above 0"),
        ([{**TASK, "lr": 0}], "invalid --stages.0.lr 0: expected at least 0.000000001"),
        ([{k: v for k, v in TASK.items() if k != "lr"}], "missing --stages.0.lr"),
        ([{**TASK, "name": "../up"}], "invalid --stages.0.name ../up"),
        ([{**TASK, "teacher": "general"}], "has a general teacher and the data of a task"),
        ([{**GENERAL, "teacher": "general", "data": "transfer"}], "the data of a task"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(stages: Any, message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        validated({"stages": stages})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"transfer_tasks": "sst2"}, "invalid --transfer-tasks sst2: expected a list"),
        ({"transfer_methods": {"maks": 1}}, "invalid --transfer-methods maks: expected 'swap', "),
        (
            {"transfer_methods": ["mask"]},
            "invalid --transfer-methods ['mask']: expected a mapping",
        ),
    ],
)
def test_a_transfer_set_that_cannot_be_is_told_likewise(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdnasError) as caught:
        validated(given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_general_stages_come_first_and_options_do_not_mix_with_stages() -> None:
    with pytest.raises(KdnasError, match="general stage 'general' must come before 'task'"):
        validated({"corpus": "a", "stages": [TASK, GENERAL]})
    with pytest.raises(KdnasError, match="invalid --task-lr 0.5: the recipe has stages"):
        validated({"stages": [TASK], "task_lr": 0.5})
