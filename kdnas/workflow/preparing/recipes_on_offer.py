"""Which of the recipes on offer can train every student of a space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdnas.config import Settings, settings_of
from kdnas.config.choices import STATIC
from kdnas.config.offer import EVERY, why_not_offered
from kdnas.config.recipe_file import built_in_names, find_recipe
from kdnas.errors import KdnasError
from kdnas.recipes.check import check_recipe, check_weights
from kdnas.recipes.run_data import RunData
from kdnas.recipes.transfer_set import check_transfer
from kdnas.runtime.console import say
from kdnas.space import AnyArchitecture, SearchSpace
from kdnas.students.static import check_static
from kdnas.tasks import TaskType
from kdnas.teachers.trained_head import has_head
from kdnas.workflow.preparing.records import method_of

LEAST = 2  # of one recipe alone, there is nothing to choose


def usable_recipes(
    settings: Settings, space: SearchSpace, data: RunData | None, config: Any
) -> tuple[str, ...]:
    """The recipes on offer, in their order.

    Of `all`, those are left out that cannot be used, or do what one before them does. Without
    `data`, that is what can be said before there is a task.

    Raises:
        KdnasError: One that was named cannot be used, or fewer than two of all can.
    """
    found, left = list[str](), dict[str, str]()
    for name in settings.offered:
        own = settings_of(settings, name)
        same = next(
            (n for n in found if method_of(settings_of(settings, n)) == method_of(own)), None
        )
        if same and settings.recipes == EVERY:
            left[name] = f"it does what {same} does"
            continue
        try:
            check_one_recipe(own, space, data, config)
            found.append(name)
        except KdnasError as error:
            if settings.recipes != EVERY:
                raise KdnasError(f"recipe {name!r} of --recipes: {error}") from None
            left[name] = str(error)
    if found and all(_is_static(settings, name) for name in found):
        raise KdnasError(
            f"--recipes {settings.recipes}: all are for students without layers; name one more, "
            "such as default"
        )
    if len(found) < LEAST:
        why = next(iter(left.values()))
        raise KdnasError(f"--recipes {settings.recipes} leaves {len(found)} to choose from: {why}")
    if settings.recipes == EVERY and not {*found} <= {*space.every_recipe}:
        for name in sorted(set(built_in_names()) - set(settings.offered)):
            left[name] = f"it {why_not_offered(find_recipe(name), dict(settings))}"
        say(f"--recipes all: {', '.join(found)}")
        for name, why in left.items():
            say(f"recipe {name} is left out: {why}")
    return tuple(found)


def with_usable_recipes(
    settings: Settings, space: SearchSpace, data: RunData | None, config: Any
) -> SearchSpace:
    """The space with the recipes that can be used, each for the students that it is for.

    Raises:
        KdnasError: As `usable_recipes`.
    """
    names = usable_recipes(settings, space, data, config)
    static = [name for name in names if _is_static(settings, name)]
    return space.with_recipes([name for name in names if name not in static], static)


def _is_static(settings: Settings, name: str) -> bool:
    """Whether a recipe on offer is for students without layers."""
    return settings.offered[name].get("students") == STATIC


def check_one_recipe(
    settings: Settings, space: SearchSpace, data: RunData | None, config: Any
) -> None:
    """Refuses a recipe, in whose settings it is, that does not fit the space, the task or the data.

    Without `data`, the task is any that a teacher of this shape can have.

    Raises:
        KdnasError: Names the first problem.
    """
    headed = data is None or not settings.teacher_as_is or has_head(config, data.spec)
    recorded = settings.teacher_predictions is not None
    students: Sequence[AnyArchitecture] = space.trained
    if settings.students == STATIC:
        students = space.statics
        if data is not None:
            check_static(space.statics, data.spec.task_type)
    check_recipe(settings, space.teacher, students, has_head=headed, recorded=recorded)
    if data is not None:
        check_weights(settings, has_head=headed or recorded)
        _check_type(settings, data.spec.task_type)
        check_transfer(settings, data)
    elif not space.teacher.decoder:
        _check_pseudo_labels(settings, "the teacher is an encoder")
    for stage in settings.full_stages if space.prunings else ():
        if stage.is_general:
            raise KdnasError(
                f"stage {stage.name!r} learns from a general teacher, and pruned students are made "
                "of the task's own; give a recipe without general stages, such as logits"
            )


def check_given_recipe(settings: Settings, space: SearchSpace) -> None:
    """Refuses the one recipe of a run where it is for other students than those of its space.

    Raises:
        KdnasError: It is for students without layers, and others are asked for.
    """
    if settings.students == STATIC and any(a.num_hidden_layers for a in space.architectures):
        one = "give one with --architecture, such as 0x128"
        if settings.searches:
            one = "distil one with `kdnas distill --architecture 0x128`"
        raise KdnasError(
            f"recipe {settings.recipe!r} is for students without layers; {one}, or name the recipe "
            "beside others in --recipes of a search"
        )


def _check_type(settings: Settings, kind: TaskType) -> None:
    """Refuses what a type of tasks has no use for: rows without targets, a smoothed loss."""
    if not kind.generates:
        _check_pseudo_labels(settings, f"the task is {kind.name}")
    for stage in settings.full_stages:
        if stage.data == "corpus" and kind.generates:
            raise KdnasError(
                f"stage {stage.name!r} has data: corpus, texts without a target, from which "
                f"{kind.name} learns nothing; give it data: transfer, for which the teacher writes "
                "targets"
            )
        if stage.options.get("label_smoothing") and not kind.smooths:
            raise KdnasError(
                f"invalid label_smoothing {stage.options['label_smoothing']} of stage "
                f"{stage.name!r}: the loss of {kind.name} has none; leave it out"
            )


def _check_pseudo_labels(settings: Settings, why: str) -> None:
    """Refuses stages that learn texts where nobody writes any, and says why."""
    for stage in settings.full_stages:
        if stage.data == "pseudo-labels":
            raise KdnasError(
                f"stage {stage.name!r} learns pseudo-labels, texts that the teacher writes, and "
                f"{why}; give it data: transfer"
            )
