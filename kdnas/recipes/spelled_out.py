"""A recipe as a file has it, where its stages are made: the start of one's own."""

from __future__ import annotations

from textwrap import fill, indent
from typing import Any

import yaml

from kdnas.config.groups import PLAIN_RECIPE
from kdnas.config.read import validated
from kdnas.config.recipe import Stage
from kdnas.config.recipe_file import Recipe
from kdnas.recipes.check import check_weights
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.types import DEFAULT_TYPE

LOSSES = "intermediate_losses"
ABOUT = ("summary", "paper", "needs", "without_corpus")


def spelled_out(recipe: Recipe) -> tuple[str, list[dict[str, Any]]]:
    """The YAML and the stages of a recipe whose file does not have them as they are.

    A recipe that leaves them to plain options has those of the usual type. It trains as the recipe
    does: where mini-KD learns from other states, students start afresh.

    Raises:
        KdnasError: A loss whose weight its name multiplies is not among those of the usual type.
    """
    if recipe.stages:
        content, made, comment = recipe.settings, recipe.stages, ""
    else:
        own = TASK_TYPES[DEFAULT_TYPE].defaults_with_heads
        settings = validated({**own, **recipe.settings, "recipe": recipe.name})
        check_weights(settings)
        content = {k: v for k, v in recipe.settings.items() if k not in PLAIN_RECIPE}
        content |= {} if settings.follows_mini_kd else {"after_mini_kd": False}
        made, comment = settings.full_stages, f"{_comment(recipe.name)}\n"
    about = {name: getattr(recipe, name) for name in ABOUT}
    content = {**{key: value for key, value in about.items() if value}, **content}
    stages = [_plain(stage) for stage in made]
    head = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    listed = yaml.safe_dump(stages, sort_keys=False, default_flow_style=None, width=1000)
    return f"{comment}{head if content else ''}stages:\n{indent(listed, '  ')}", stages


def _comment(name: str) -> str:
    """For which types of tasks the stages hold, and what others learn."""
    usual = TASK_TYPES[DEFAULT_TYPE].defaults_with_heads.get(LOSSES)
    alike = [n for n, kind in TASK_TYPES.items() if kind.defaults_with_heads.get(LOSSES) == usual]
    told = (
        f"The stages of recipe {name} as plain options make them, for tasks of "
        f"{' and '.join(alike)}. Other types learn hidden states (kdnas "
        "recipes states), students of a black-box teacher its predictions alone."
    )
    return fill(told, 100, initial_indent="# ", subsequent_indent="# ")


def _plain(stage: Stage) -> dict[str, Any]:
    """A stage as plain values, without what is the default."""
    found: dict[str, Any] = _whole(stage.model_dump(mode="json", exclude_defaults=True))
    return found


def _whole(value: Any) -> Any:
    """Numbers as a person writes them: 3 in place of 3.0."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
