"""Recipes by name: one YAML file a paper, and files of a user's own in the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdnas.config.groups import OF_A_RECIPE
from kdnas.config.read import OF_A_RECIPE_FILE, nearest, one_line_of, read_yaml
from kdnas.config.recipe import Stage
from kdnas.config.settings import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, shown

BUILT_IN = Path(__file__).parent.parent / "recipes" / "built_in"


class Recipe(BaseModel):
    """How a student is trained: stages, and other settings that are part of the method."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(description="That of a built-in recipe, or the path of a file.")
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
    def needs_corpus(self) -> bool:
        """Whether a stage learns from a corpus."""
        return any(stage.data == "corpus" for stage in self.stages)


def built_in_names() -> list[str]:
    """The names of the recipes that come with kdnas; the default is the first."""
    names = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
    return sorted(names, key=lambda name: name != Settings.model_fields["recipe"].default)


def find_recipe(word: str) -> Recipe:
    """The recipe of this name, or in this YAML file.

    Raises:
        KdnasError: There is no such recipe, or the file holds something else.
    """
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
    return Path(word).suffix.lower() in (".yaml", ".yml")


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
