"""A type's own defaults of settings."""

from __future__ import annotations

import pytest

from kdnas.config import load_settings, settings_of, validated
from kdnas.config.recipe_file import find_recipe
from kdnas.tasks import TASK_TYPES, load_spec
from kdnas.tasks.defaults import with_type_defaults


def test_what_nobody_set_is_as_the_type_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(TASK_TYPES["regression"]), "defaults", {"max_length": 384, "teacher_epochs": 2.0}
    )
    settings = with_type_defaults(validated({"teacher_epochs": 5}), load_spec("stsb"))
    assert (settings.max_length, settings.teacher_epochs) == (384, 5)
    known = validated({**dict(settings), "intermediate_losses": {"hidden": 1}})
    assert with_type_defaults(known, load_spec("sst2")) == known


@pytest.mark.parametrize(
    ("task", "learnt", "goes_on"),
    [
        ("mrpc", ["relations"], False),
        ("stsb", ["relations"], False),
        ("wnut17", ["hidden"], True),
        ("squad", ["hidden"], True),
        ("multi30k", ["hidden", "decoder-hidden"], True),
    ],
)
def test_whole_texts_are_learnt_from_relations(task: str, learnt: list[str], goes_on: bool) -> None:
    settings = with_type_defaults(validated({"epochs": 2, "hidden_weight": 0.5}), load_spec(task))
    first, last = settings.full_stages
    assert (list(first.losses), first.epochs) == (learnt, 2)
    assert [last.losses[name] for name in learnt] == [0.5] * len(learnt)
    assert settings.follows_mini_kd is goes_on, "a student of other states starts afresh"
    own = validated({"intermediate_losses": {"attention": 1}})
    assert list(with_type_defaults(own, load_spec(task)).full_stages[0].losses) == ["attention"]


@pytest.mark.parametrize(
    "values", [{"pruned": "ziplm", "sparsity": 0.5}, {"search_over": "shape,pruning"}]
)
def test_pruned_students_learn_relations_too(values: dict[str, str]) -> None:
    settings = with_type_defaults(load_settings((), values), load_spec("mrpc"))
    assert all("relations" in stage.losses for stage in settings.full_stages)


@pytest.mark.parametrize(
    "values",
    [
        {"teacher_predictions": "a.jsonl"},
        {"architecture": "0x64"},
        {"recipe": "pkd"},
    ],
)
def test_outputs_alone_and_recipes_with_stages_keep_their_losses(
    values: dict[str, str],
) -> None:
    settings = load_settings((), values)
    now = with_type_defaults(settings, load_spec("mrpc"))
    assert now == settings
    assert not any("relations" in stage.losses for stage in now.full_stages)


def test_stages_have_losses_of_decoders_where_there_are_some() -> None:
    spec = load_spec("multi30k")
    one = validated({"recipe": "transfer", "stages": find_recipe("transfer").stages})
    for settings in (one, load_settings((), {"recipes": "default,transfer"})):
        plain, pairs = (
            settings_of(with_type_defaults(settings, s), "transfer")
            for s in (load_spec("sst2"), spec)
        )
        assert [set(stage.losses) for stage in plain.full_stages] == [
            {"hidden"},
            {"task", "logits", "hidden"},
        ]
        assert [set(stage.losses) for stage in pairs.full_stages] == [
            {"hidden", "decoder-hidden"},
            {"task", "logits", "hidden", "decoder-hidden"},
        ]
        assert not any(stage.decoder_losses for stage in pairs.full_stages)
