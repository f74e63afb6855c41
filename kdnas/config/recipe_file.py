"""Recipes by name: one YAML file a paper, and files of a user's own in the same form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdnas.config.groups import OF_A_RECIPE
from kdnas.config.read import OF_A_RECIPE_FILE, nearest, one_line_of, read_yaml
from kdnas.config.recipe import LEAST_LR, MOST_LR, Stage, weighs
from kdnas.config.recipe_name import RecipeName
from kdnas.config.settings import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, shown

BUILT_IN = Path(__file__).parent.parent / "recipes" / "built_in"


class Recipe(BaseModel):
    """How a student is trained: stages, and other settings that are part of the method."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="That of a built-in recipe, or the path of a file; @0.3 behind it scales "
        "rates, @logits=2 the weight of a loss."
    )
    file: Path = Field(description="Where it stands.")
    summary: str = Field(default="", max_length=100, description="One line.")
    paper: str | None = Field(default=None, description="Citation.")
    needs: str | None = Field(default=None, description="What it needs beside a task, in words.")
    without_corpus: str | None = Field(
        default=None, description="The recipe to take where there is no corpus."
    )
    stages: tuple[Stage, ...] = Field(
        default=(), description="Without any, --epochs, --lr, --task-epochs, ... make them."
    )
    settings: dict[str, Any] = Field(description="Other settings by name.")

    @property
    def overlay(self) -> dict[str, Any]:
        """All settings that it decides: they come before defaults, and after what a user sets."""
        return {"recipe": self.name, "stages": self.stages, **self.settings}

    @property
    def short_name(self) -> str:
        """The name, without folder and ending where it is a file's."""
        return RecipeName.read(self.name).short

    @property
    def is_as_written(self) -> bool:
        """Whether its learning rates and weights are those of its file."""
        return not RecipeName.read(self.name).changes

    @property
    def needs_corpus(self) -> bool:
        """Whether a stage learns from a corpus."""
        return any(stage.data == "corpus" for stage in self.stages)


def built_in_names() -> list[str]:
    """The names of the recipes that come with kdnas; the default is the first."""
    names = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
    return sorted(names, key=lambda name: name != Settings.model_fields["recipe"].default)


def find_recipe(word: str) -> Recipe:
    """The recipe of this name, or in this YAML file.

    `@0.3` behind it scales its learning rates, `@logits=2` the weight of a loss.

    Raises:
        KdnasError: There is no such recipe, or the file holds something else; or it has no stages
            whose rates could be scaled, or no such loss.
    """
    name = RecipeName.read(word)
    recipe = _as_written(name)
    name = replace(name, base=recipe.name)
    stages = _with_rates(recipe.stages, name)
    if stages:
        name.check_losses([loss for stage in stages for loss in _weighed(stage)])
        stages = tuple(stage.weighed_as(name.weights) for stage in stages)
    return recipe.model_copy(update={"name": str(name), "stages": stages})


def _as_written(name: RecipeName) -> Recipe:
    """A recipe as its file has it."""
    if name.is_file:
        return _read(name.base, Path(name.base).expanduser())
    own = name.base.lower().replace("_", "-")
    if own not in (known := built_in_names()):
        raise KdnasError(
            f"unknown recipe {quoted(name.base)}{nearest(own, known)} (`kdnas recipes` lists them; "
            "the name of a file ends in .yaml)"
        )
    return _read(own, BUILT_IN / f"{own}.yaml")


def _weighed(stage: Stage) -> list[str]:
    """The losses of a stage that count, of whatever teacher."""
    return [n for n, weight in {**stage.losses, **stage.decoder_losses}.items() if weighs(weight)]


def _with_rates(stages: tuple[Stage, ...], name: RecipeName) -> tuple[Stage, ...]:
    """Stages with so many times their learning rates."""
    if name.rate == 1:
        return stages
    if not stages:
        raise KdnasError(
            f"invalid recipe {quoted(str(name))}: {name.base} has no stages whose rates could be "
            "scaled; give --lr and --task-lr, or a recipe with stages, such as relations@0.3"
        )
    rates = [name.rate * one.lr for one in stages]
    if not LEAST_LR <= min(rates) <= max(rates) <= MOST_LR:
        raise KdnasError(
            f"invalid recipe {quoted(str(name))}: learning rates of {min(rates):g} to "
            f"{max(rates):g}; expected {LEAST_LR:g} to {MOST_LR:g}"
        )
    both = zip(stages, rates, strict=True)
    return tuple(stage.model_copy(update={"lr": lr}) for stage, lr in both)


def _read(name: str, file: Path) -> Recipe:
    values = read_yaml(file)
    known = (*OF_A_RECIPE_FILE, *OF_A_RECIPE)
    for key in values:
        if key in Settings.model_fields and key not in known:
            raise KdnasError(
                f"{shown(file)}: {quoted(key)} is no part of a recipe; give it with --config or as "
                "a flag"
            )
        if key not in known:
            raise KdnasError(f"{shown(file)}: unknown key {quoted(key)}{nearest(key, known)}")
    own = {key: values[key] for key in (*OF_A_RECIPE_FILE, "stages") if key in values}
    settings = {key: value for key, value in values.items() if key not in own}
    try:
        return Recipe(name=name, file=file, settings=settings, **own)
    except ValidationError as error:
        raise KdnasError(one_line_of(error, dict.fromkeys(values, file))) from None
