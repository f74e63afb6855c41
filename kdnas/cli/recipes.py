"""kdnas recipes: the ways to train a student that have a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from kdnas.config.recipe_file import Recipe, built_in_names, find_recipe
from kdnas.runtime.console import conclude


def recipes(
    name: str | None = typer.Argument(
        None,
        help="A recipe, to print its YAML; the start of one's own. NAME@0.3 has so many times the "
        "learning rates, NAME@logits=2 twice the weight of that loss.",
        metavar="[NAME|FILE]",
    ),
) -> None:
    """List the recipes that --recipe names, or print one.

    Each says what it does, what paper it is after, and what it needs.
    """
    if name is None:
        found = [find_recipe(known) for known in built_in_names()]
        conclude([_about(recipe) for recipe in found], _lines(found))
        return
    recipe = find_recipe(name)
    if recipe.stages and recipe.is_as_written:
        text = recipe.file.read_text(encoding="utf-8")
        stages = [stage.model_dump(mode="json", exclude_unset=True) for stage in recipe.stages]
    else:
        from kdnas.recipes.spelled_out import spelled_out

        text, stages = spelled_out(recipe)
    result = {**_about(recipe), **recipe.settings, "stages": stages, "yaml": text}
    conclude(result, text.splitlines())


def _about(recipe: Recipe) -> dict[str, Any]:
    names = ("name", "summary", "paper", "needs", "without_corpus")
    return {name: getattr(recipe, name) for name in names}


def _lines(found: list[Recipe]) -> Iterator[str]:
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        yield f"{recipe.name:<{width}}  {recipe.summary}"
        for more in (recipe.needs and f"needs {recipe.needs}", recipe.paper):
            if more:
                yield f"{'':<{width}}  {more}"
