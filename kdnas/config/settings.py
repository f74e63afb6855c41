"""The settings of a run: every option with its default, limits and help text.

Not a source of environment variables: a run reads the same from its config.yaml in any shell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from kdnas.config.black_box import with_defaults
from kdnas.config.duration import seconds_of
from kdnas.config.names import joined
from kdnas.config.options.base import MOST_THREADS, MOST_TRIALS
from kdnas.config.rules import problem_of_settings
from kdnas.config.shape import read_shape, shape_text
from kdnas.config.values import Values
from kdnas.runtime.shown import shown


class Settings(Values):
    """Every option of `kdnas search`, checked. A YAML key and a flag carry the same name."""

    @field_validator("architecture", mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        """The text of a shape, which YAML may also give as a mapping."""
        return None if value is None else shape_text(read_shape(value))

    @field_validator(
        "recipes", "vocabularies", "search_over", "assistants", "learn_from", mode="before"
    )
    @classmethod
    def _one_text(cls, value: Any) -> Any:
        """Names with commas between them, which YAML may also give as a list."""
        return joined(value)

    @field_validator("budget")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        """A time that can be read."""
        if value is not None:
            try:
                seconds_of(value)
            except ValueError as error:
                raise PydanticCustomError("budget", str(error)) from None  # type: ignore[arg-type]
        return value

    @field_validator("threads", "jobs", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any, info: ValidationInfo) -> Any:
        """A word where a number could stand would give two errors, one for each kind."""
        if value is None or value == "auto":
            return value
        words = isinstance(value, str) and re.fullmatch(r"\s*\d{1,4}\s*", value)
        number = int(value) if words or isinstance(value, int) else 0
        if not 1 <= number <= MOST_THREADS:
            raise PydanticCustomError(  # type: ignore[arg-type]
                str(info.field_name), f"expected 1 to {MOST_THREADS}, or auto"
            )
        return number

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """YAML reads a bare `off` as false, and pydantic a `true` as 1; a path may not be empty."""
        values = dict(values)
        for name in ("random_control", "track"):
            if values.get(name) is False:
                values[name] = "off"
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field and (problem := _problem(value, field)):
                raise ValueError(f"invalid --{name.replace('_', '-')} {problem}")
        if values.get("budget") is not None and values.get("trials") is None:
            values["trials"] = MOST_TRIALS
        return with_defaults(values)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if problem := problem_of_settings(self):
            raise ValueError(problem)
        return self


def _problem(value: Any, field: FieldInfo) -> str | None:
    """A value that no option of its kind takes, and what to give instead."""
    kind, extra = field.annotation, field.json_schema_extra
    may_be_empty = isinstance(extra, dict) and extra["may_be_empty"]
    if isinstance(value, bool) and kind is not bool:
        is_text = str in (kind, *get_args(kind)) or Path in get_args(kind)
        hint = "; put it in quotes" if is_text else ""
        return f"{shown(value)}: only switches take true or false{hint}"
    if isinstance(value, str) and not value.strip() and not may_be_empty:
        return f"'{shown(value)}': it is empty; leave it out for the default"
    if isinstance(value, str | Path) and "\0" in str(value):
        return f"{shown(value)}: no text or path may hold a NUL character"
    return None
