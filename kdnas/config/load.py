"""The settings of a run from their sources: defaults, a recipe, YAML files, flags."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdnas.config.black_box import is_static_shape
from kdnas.config.choices import STATIC
from kdnas.config.groups import OF_A_RECIPE, PLAIN_RECIPE
from kdnas.config.offer import with_offer
from kdnas.config.read import describes_a_task, holds_settings, read_yaml, validated
from kdnas.config.recipe_file import Recipe, find_recipe
from kdnas.config.rules import set_by_stages
from kdnas.config.settings import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.shown import shown

Origins = dict[str, Path]
# How far a student is pruned: one of these.
HOW_FAR = ("speedup", "speedups", "sparsity")


def load_settings(
    files: str | Path | Sequence[str | Path] | None,
    flags: dict[str, Any],
    defaults: Mapping[str, Any] | Path | None = None,
) -> Settings:
    """Settings: defaults, then the recipe, then YAML files (a later one wins), then flags.

    Args:
        files: One or several, each a mapping of option names to values.
        flags: Options given on the command line.
        defaults: What holds where nothing else sets an option: values, or a run's config.yaml,
            whose recipe is resolved already.

    Raises:
        KdnasError: A file cannot be read, a key or the recipe is unknown, a value is out of range,
            or recipe and options contradict each other.
    """
    base, origins = _base(defaults)
    given: dict[str, Any] = {}
    for file in map(Path, [files] if isinstance(files, str | Path) else files or ()):
        found = _options_in(file)
        given |= found
        origins |= dict.fromkeys(found, file)
    if {**given, **flags}.get("recipe") is not None:
        base = _without_recipe(base)
    complete = given.keys() >= {"recipe", *OF_A_RECIPE}  # a run's config.yaml: resolved already
    if complete and flags.get("recipe") is not None:
        base, given = {**base, **_without_recipe(given)}, {}
    if any(flags.get(name) is not None for name in HOW_FAR):  # else two of them contradict
        base, given = _without(HOW_FAR, base), _without(HOW_FAR, given)
    given |= flags
    origins = {key: file for key, file in origins.items() if key not in flags}
    if not (complete and not {"recipes", "vocabularies", "search_over"} & flags.keys()):
        given = with_offer(given, base)
    if recipe_of_static := _recipe_of_static(base, given):
        given = {**given, "recipe": recipe_of_static}
    named = given.get("recipe")
    if isinstance(named, str) and named.strip() and not (complete and "recipe" not in flags):
        recipe = find_recipe(named)
        _refuse_other_stages(recipe, given, origins)
        _refuse_without_corpus(recipe, {**base, **given})
        base = _overlaid(base, recipe)
        if {**base, **given}.get("architecture") is not None:  # nothing is chosen from a space
            base = _without(("space",), base)
        given = _with_space(base, given)
        origins = {**dict.fromkeys(recipe.settings, recipe.file), **origins}
        origins.setdefault("stages", recipe.file)
        given["recipe"] = recipe.name
    if given.get("stages"):
        base = _without_plain(base)
    settings = validated(base | given, origins)
    # Those of files may be a run's, which has a value for every option.
    for name in PLAIN_RECIPE if settings.stages else ():
        if name in flags:
            raise KdnasError(set_by_stages(settings, name))
    return settings


def _options_in(file: Path) -> dict[str, Any]:
    """The options in a YAML file.

    Raises:
        KdnasError: It cannot be read, holds none, or describes a task.
    """
    found = read_yaml(file)
    if not found:
        raise KdnasError(
            f"{shown(file)} is empty; give it options, such as task: mrpc, or leave --config out"
        )
    named = [value for value in found.values() if isinstance(value, dict)]
    of_tasks = any(map(describes_a_task, named)) and not holds_settings(found)
    if of_tasks or describes_a_task(found):
        raise KdnasError(f"{shown(file)}: this describes a task; give it with --task")
    return found


def _recipe_of_static(base: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """The recipe of a student without layers where nobody chose one: plain options have none."""
    values = {**base, **given}
    chosen = {"recipe", "stages"} & values.keys()
    return STATIC if is_static_shape(values.get("architecture")) and not chosen else None


def _base(defaults: Mapping[str, Any] | Path | None) -> tuple[dict[str, Any], Origins]:
    if isinstance(defaults, Path):
        found = read_yaml(defaults)
        return found, dict.fromkeys(found, defaults)
    return dict(defaults or {}), {}


def _without_recipe(values: dict[str, Any]) -> dict[str, Any]:
    """Resolved values without those that their recipe has set: another one takes its place."""
    if "recipe" not in values or "stages" not in values:
        return values
    # Beside stages a run keeps defaults of these options, which nobody gave.
    left = _without(("recipe", "stages", *(PLAIN_RECIPE if values["stages"] else ())), values)
    try:
        old = find_recipe(values["recipe"])
    except KdnasError:  # its file is gone
        return left
    alone = validated({**old.overlay, "corpus": values.get("corpus")})  # which its stages may need
    together = validated(_without_plain(values) if values["stages"] else values)
    set_by_it = {key for key in old.settings if getattr(alone, key) == getattr(together, key)}
    return _without(set_by_it, left)


def _overlaid(values: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    kept = _without_plain(values) if recipe.stages else values
    return kept | _with_space(values, recipe.overlay)


def _with_space(before: Mapping[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The later values, their space with the fields that only the former one has."""
    old, new = before.get("space"), later.get("space")
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return later
    return {**later, "space": {**old, **new}}


def _without_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without the options that stages take the place of."""
    return _without(PLAIN_RECIPE, values)


def _without(names: Collection[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _refuse_other_stages(recipe: Recipe, given: Mapping[str, Any], origins: Origins) -> None:
    """A recipe with other stages would no longer be that recipe."""
    if "stages" in given and (recipe.stages or not recipe.is_as_written):
        where = f"{shown(origins['stages'])} has" if "stages" in origins else "there are"
        raise KdnasError(
            f"invalid --recipe {shown(recipe.name)}: {where} stages, too; leave one of them out"
        )


def _refuse_without_corpus(recipe: Recipe, values: Mapping[str, Any]) -> None:
    if recipe.needs_corpus and not values.get("corpus"):
        other = recipe.without_corpus
        raise KdnasError(
            f"recipe {recipe.name!r} learns from a corpus; name one with --corpus"
            + (f", or take --recipe {other}, which needs none" if other else "")
        )
