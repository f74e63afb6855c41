"""Settings whose defaults a task's type knows better."""

from __future__ import annotations

from typing import Any

from kdnas.config import Settings
from kdnas.config.groups import PLAIN_RECIPE
from kdnas.config.recipe import Stage
from kdnas.tasks.spec import TaskSpec


def with_type_defaults(settings: Settings, spec: TaskSpec) -> Settings:
    """The settings, those that nobody set as the task's type has them.

    For a type whose models have decoders, stages have their losses for these.
    """
    own = dict(spec.task_type.defaults)
    if not settings.outputs_alone:
        own |= spec.task_type.defaults_with_heads
    # Stages have losses and rates of their own.
    taken = {*settings.model_fields_set, *(PLAIN_RECIPE if settings.stages else ())}
    changes: dict[str, Any] = {k: v for k, v in own.items() if k not in taken}
    if spec.task_type.needs_decoder:
        if settings.stages:
            changes["stages"] = tuple(stage.of_two_stacks for stage in settings.stages)
        if settings.offered:
            changes["offered"] = {n: _of_two_stacks(r) for n, r in settings.offered.items()}
    return settings.model_copy(update=changes)


def _of_two_stacks(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe on offer, as plain values, for a teacher with a decoder."""
    stages = [Stage(**stage).of_two_stacks for stage in recipe["stages"]]
    plain = [stage.model_dump(mode="json", exclude_unset=True) for stage in stages]
    return {**recipe, "stages": plain}
