"""Recipes by name: one YAML file a paper, and files of a user's own in the same form."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdnas.config.groups import OF_A_RECIPE
from kdnas.config.read import OF_A_RECIPE_FILE, nearest, one_line_of, read_yaml
from kdnas.config.recipe import LEAST_LR, MOST_LR, Stage
from kdnas.config.settings import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, shown

# A recipe with other learning rates: `relations@0.3` has three tenths of those of relations.
RATES = re.compile(r"(?P<recipe>.+)@(?P<factor>[^@/\\]*)")
BUILT_IN = Path(__file__).parent.parent / "recipes" / "built_in"


class Recipe(BaseModel):
    """How a student is trained: stages, and other settings that are part of the method."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="That of a built-in recipe, or the path of a file; @0.3 behind it scales rates."
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
        return short_name(self.name)

    @property
    def has_own_rates(self) -> bool:
        """Whether its learning rates are those of its file."""
        return not _split(self.name)[1]

    @property
    def needs_corpus(self) -> bool:
        """Whether a stage learns from a corpus."""
        return any(stage.data == "corpus" for stage in self.stages)


def built_in_names() -> list[str]:
    """The names of the recipes that come with kdnas; the default is the first."""
    names = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
    return sorted(names, key=lambda name: name != Settings.model_fields["recipe"].default)


def find_recipe(word: str) -> Recipe:
    """The recipe of this name, or in this YAML file; `@0.3` behind it scales its learning rates.

    Raises:
        KdnasError: There is no such recipe, or the file holds something else; or it has no stages
            whose rates could be scaled.
    """
    if match := RATES.fullmatch(word.strip()):
        return _with_rates(find_recipe(match["recipe"]), match["factor"])
    if is_file_name(word):
        return _read(word, Path(word).expanduser())
    name = word.strip().lower().replace("_", "-")
    if name not in (known := built_in_names()):
        raise KdnasError(
            f"unknown recipe {quoted(word)}{nearest(name, known)} (`kdnas recipes` lists them; the "
            "name of a file ends in .yaml)"
        )
    return _read(name, BUILT_IN / f"{name}.yaml")


def is_file_name(word: str) -> bool:
    """Whether a word is the path of a recipe's file rather than a name."""
    return Path(_split(word)[0]).suffix.lower() in (".yaml", ".yml")


def short_name(name: str) -> str:
    """That of a recipe, without folder and ending where it is a file's."""
    base, factor = _split(name)
    return f"{Path(base).stem if is_file_name(base) else base}{factor}"


def _split(word: str) -> tuple[str, str]:
    """A recipe, and what stands behind it: `@0.3` or nothing."""
    match = RATES.fullmatch(word.strip())
    return (match["recipe"], f"@{match['factor']}") if match else (word, "")


def _with_rates(recipe: Recipe, text: str) -> Recipe:
    """A recipe whose stages have so many times their learning rates."""
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    word = f"{recipe.name}@{text}"
    if not 0 < factor < math.inf or "@" in recipe.name:
        raise KdnasError(
            f"invalid recipe {quoted(word)}: expected one number above 0 behind the @, such as "
            f"{_split(recipe.name)[0]}@0.3"
        )
    if not recipe.stages:
        raise KdnasError(
            f"invalid recipe {quoted(word)}: {recipe.name} has no stages whose rates could be "
            "scaled; give --lr and --task-lr, or a recipe with stages, such as relations@0.3"
        )
    rates = [factor * one.lr for one in recipe.stages]
    if not LEAST_LR <= min(rates) <= max(rates) <= MOST_LR:
        raise KdnasError(
            f"invalid recipe {quoted(word)}: learning rates of {min(rates):g} to {max(rates):g}; "
            f"expected {LEAST_LR:g} to {MOST_LR:g}"
        )
    both = zip(recipe.stages, rates, strict=True)
    scaled = tuple(stage.model_copy(update={"lr": lr}) for stage, lr in both)
    return recipe.model_copy(update={"name": f"{recipe.name}@{factor:g}", "stages": scaled})


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
