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
    assert with_type_defaults(settings, load_spec("sst2")) == settings


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
