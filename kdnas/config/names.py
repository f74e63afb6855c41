"""Lists of names as one text: `a,b`."""

from __future__ import annotations

from typing import Any


def joined(value: Any) -> Any:
    """A list of names as one text: `a,b`."""
    kinds = str | int | float
    if isinstance(value, list | tuple) and all(isinstance(word, kinds) for word in value):
        value = ",".join(map(str, value))
    return ",".join(split(value)) if isinstance(value, str) else value


def split(text: str) -> list[str]:
    """The names in such a text."""
    return [word.strip() for word in text.split(",") if word.strip()]
