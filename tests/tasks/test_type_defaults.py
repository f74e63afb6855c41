"""A type's own defaults of settings."""

from __future__ import annotations

import pytest

from kdnas.config import validated
from kdnas.tasks import TASK_TYPES, load_spec
from kdnas.tasks.defaults import with_type_defaults


def test_what_nobody_set_is_as_the_type_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(TASK_TYPES["regression"]), "defaults", {"max_length": 384, "teacher_epochs": 2.0}
    )
    settings = with_type_defaults(validated({"teacher_epochs": 5}), load_spec("stsb"))
    assert (settings.max_length, settings.teacher_epochs) == (384, 5)
    assert with_type_defaults(settings, load_spec("sst2")) == settings
