"""The parts of a task's entry, and the short forms in which a user may write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _words(value: Any) -> Any:
    """Nothing, one word, or a list of words, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class Column(BaseModel):
    """A column by its canonical name, and the other headers under which files carry it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    aliases: Words = ()

    @property
    def headers(self) -> tuple[str, ...]:
        """Every accepted header, the canonical one first."""
        return (self.name, *self.aliases)


class Hub(BaseModel):
    """A data set on the Hugging Face hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    name: str | None = None


class Submission(BaseModel):
    """The predictions file that a benchmark takes for an unlabelled test split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, str] = {}
    ids: bool = False
    bounds: tuple[float, float] | None = None


def _columns(value: Any) -> Any:
    """`sentence`, `[premise, hypothesis]` or `{premise: [sentence1]}` as columns."""
    if isinstance(value, str):
        return ({"name": value},)
    if isinstance(value, Mapping):
        return tuple({"name": name, "aliases": others} for name, others in value.items())
    if isinstance(value, list):
        return tuple({"name": item} if isinstance(item, str) else item for item in value)
    return value


def _column(value: Any) -> Any:
    """`label` or `{label: [Quality]}` as a column."""
    if isinstance(value, Mapping) and set(value) == {"name", "aliases"}:
        return value
    columns = _columns(value)
    return columns[0] if isinstance(columns, tuple) and len(columns) == 1 else columns


def _hub(value: Any) -> Any:
    """`org/set` or `org/set:config` as a hub entry."""
    if not isinstance(value, str):
        return value
    path, _, name = value.partition(":")
    return {"path": path, "name": name or None}


TextColumns = Annotated[tuple[Column, ...], BeforeValidator(_columns)]
LabelColumn = Annotated[Column, BeforeValidator(_column)]
HubEntry = Annotated[Hub | None, BeforeValidator(_hub)]
