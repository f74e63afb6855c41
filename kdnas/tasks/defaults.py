"""Settings whose defaults a task's type knows better."""

from __future__ import annotations

from kdnas.config import Settings
from kdnas.tasks.spec import TaskSpec


def with_type_defaults(settings: Settings, spec: TaskSpec) -> Settings:
    """The settings, those that nobody set as the task's type has them."""
    own = spec.task_type.defaults
    given = settings.model_fields_set
    return settings.model_copy(update={k: v for k, v in own.items() if k not in given})
