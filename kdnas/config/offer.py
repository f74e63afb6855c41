"""The recipes that a search chooses between: read once, then part of the run's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdnas.config.black_box import problem_of_a_recipe
from kdnas.config.choices import AGREEMENT, RECIPE, SHAPE
from kdnas.config.groups import PLAIN_RECIPE
from kdnas.config.names import joined, split
from kdnas.config.read import validated
from kdnas.config.recipe_file import Recipe, built_in_names, find_recipe
from kdnas.config.settings import Settings
from kdnas.config.vocabulary import with_vocabularies
from kdnas.errors import KdnasError
from kdnas.runtime.shown import shown

EVERY = "all"
# What all recipes of a search share: the rows that score them and mini-KD's budget. Where a recipe
# says otherwise of a size or of mini-KD, the run decides; of the other two, it is refused.
OF_THE_RUN = (
    *("space", "corpus_rows", "corpus_pairs"),
    *("mini_losses", "mini_score", "mini_epochs", "mini_lr", "mini_stride"),
)
SHARED = ("class_weights", "mask_probability")
# Of the run itself, not of the settings that one recipe trains with.
OF_A_CHOICE = ("recipes", "search_over", "offered")


def with_offer(given: dict[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Given values with the recipes and vocabularies that they ask for, by name or `search_over`.

    Args:
        given: Values that a user set; they win over those of a recipe.
        base: What holds where nobody set a value.

    Raises:
        KdnasError: A recipe is unknown, cannot be used, or contradicts what all share; or one
            vocabulary and several are named.
    """
    over = split(str(joined(given.get("search_over") or "")))
    names = split(str(joined(given.get("vocabularies") or "")))
    return with_vocabularies(_with_recipes(given, base), names, over)


def _with_recipes(given: dict[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Given values with the recipes that they ask for in `recipes` or `search_over`, read.

    Args:
        given: Values that a user set; they win over those of a recipe.
        base: What holds where nobody set a value.

    Raises:
        KdnasError: A recipe is unknown, cannot be used, or contradicts what all share.
    """
    names = joined(given.get("recipes"))
    words = split(names) if isinstance(names, str) else []  # others are refused with the settings
    over = split(str(joined(given.get("search_over") or "")))
    if not words and RECIPE in over:
        words = [EVERY]
    if not words:
        return given
    usual = Settings.model_fields["recipe"].default
    if given.get("recipe", usual) != usual:
        raise KdnasError("--recipe and --recipes contradict each other: give one of them")
    if len(words) == 1 and words != [EVERY]:  # nothing to choose
        kept = {k: v for k, v in given.items() if k not in OF_A_CHOICE}
        left = [word for word in over if word not in (SHAPE, RECIPE)]
        more = {"search_over": ",".join([SHAPE, *left])} if left else {}
        return {**kept, **more, "recipe": words[0]}
    values = {**base, **given}
    found = _read(words, values)
    plain = [name for name in PLAIN_RECIPE if name in given]
    if plain and all(recipe.stages for recipe in found.values()):
        raise KdnasError(
            f"invalid --{plain[0].replace('_', '-')} {shown(given[plain[0]])}: all of --recipes "
            "have stages, which set their own; leave it out"
        )
    _refuse_unshared(found, values)
    sizes = [r.settings["corpus_rows"] for r in found.values() if "corpus_rows" in r.settings]
    return {
        **({"corpus_rows": max(sizes)} if sizes else {}),
        **{"search_over": ",".join(dict.fromkeys([SHAPE, RECIPE, *over]))},
        **{"mini_score": AGREEMENT},
        **given,
        "recipes": EVERY if words == [EVERY] else ",".join(r.name for r in found.values()),
        "offered": {name: _plain(recipe, given) for name, recipe in found.items()},
    }


def settings_of(settings: Settings, recipe: str) -> Settings:
    """The settings that a recipe on offer trains with; the run's own where it has one recipe.

    Raises:
        KdnasError: The recipe needs a corpus and there is none.
    """
    if not settings.offered:
        return settings
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    own = settings.offered[recipe]
    # How candidates are pruned is the run's, as is whether they are.
    of_the_run = (*OF_A_CHOICE, "vocabularies", "pruned")
    dropped = {*of_the_run, *(PLAIN_RECIPE if own.get("stages") else ())}
    kept = {name: value for name, value in given.items() if name not in dropped}
    return validated({**kept, "recipe": recipe, **own})


def every_recipe(settings: Settings) -> dict[str, Settings]:
    """The settings of each recipe on offer, by name; of a run with one recipe its own."""
    if not settings.offered:
        return {settings.recipe: settings}
    return {name: settings_of(settings, name) for name in settings.offered}


def has_general_stages(settings: Settings) -> bool:
    """Whether a stage of any recipe on offer learns from the general teacher."""
    return any(s.is_general for own in every_recipe(settings).values() for s in own.full_stages)


def proxy_has_labels(settings: Settings) -> bool:
    """Whether mini-KD's proxy is of the task's own rows, even where there is a corpus.

    Where general stages read the corpus by themselves, and where short runs of recipes do: stages
    of theirs learn from labels, and what is scored is predictions for the task.
    """
    return settings.scores_agreement or has_general_stages(settings)


def why_not_offered(recipe: Recipe, values: Mapping[str, Any]) -> str | None:
    """What a recipe needs that a run with some values of options has not, in words."""
    if recipe.needs_corpus and not values.get("corpus"):
        return "learns from a corpus, and no --corpus is given"
    return problem_of_a_recipe(values, recipe.settings)


def _read(words: list[str], values: Mapping[str, Any]) -> dict[str, Recipe]:
    """Recipes by short names; of all, those are left out that need what the run has not."""
    everything = words == [EVERY]
    found: dict[str, Recipe] = {}
    for word in built_in_names() if everything else words:
        recipe = find_recipe(word)
        name = recipe.short_name
        if name in found:
            raise KdnasError(
                f"invalid --recipes {','.join(words)}: two are called {name!r}; leave one out, or "
                "rename its file"
            )
        if why := why_not_offered(recipe, values):
            if everything:
                continue
            raise KdnasError(
                f"invalid --recipes {','.join(words)}: recipe {name!r} {why}; leave that recipe out"
            )
        found[name] = recipe
    return found


def _refuse_unshared(found: Mapping[str, Recipe], values: Mapping[str, Any]) -> None:
    for name, recipe in found.items():
        for key in SHARED:
            usual = values.get(key, Settings.model_fields[key].default)
            if recipe.settings.get(key, usual) != usual:
                raise KdnasError(
                    f"recipe {name!r} sets {key} to {recipe.settings[key]}, which all recipes of a "
                    f"search share; give --{key.replace('_', '-')} to the run, or leave it out"
                )


def _plain(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe decides, as plain values; what a user gave wins over it."""
    dropped = {*OF_THE_RUN, *SHARED, *given}
    own = {key: value for key, value in recipe.settings.items() if key not in dropped}
    stages = [stage.model_dump(mode="json", exclude_unset=True) for stage in recipe.stages]
    return {"stages": stages, **own}
