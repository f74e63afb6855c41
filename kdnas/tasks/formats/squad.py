"""SQuAD's JSON: articles with paragraphs, each a context with its questions."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.tasks.examples import clean_text, kind_of, shown
from kdnas.tasks.formats.tables import Rows, numbered
from kdnas.tasks.formats.text import read_text

SUFFIXES = (".json",)
HEADER = ["id", "title", "question", "context", "answers", "is_impossible"]
FORM = '{"data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [...]}]}]}'
# An object that begins so is no row of a table.
_BEGINS = re.compile(r'\ufeff?\s*\{\s*"(data|version)"\s*:\s*(\[\s*\{|\[\s*\]|")')
_PARAGRAPHS = re.compile(r'"paragraphs"\s*:\s*\[')
_LOOKED_AT = 1 << 16


def is_squad(path: Path) -> bool:
    """Whether a JSON file looks like SQuAD's, by its beginning."""
    try:
        with path.open("rb") as file:
            head = file.read(_LOOKED_AT).decode("utf-8", "replace")
    except OSError:
        return False
    begun = head.lstrip("\ufeff \t\r\n").startswith("{")
    return begun and bool(_BEGINS.match(head) or _PARAGRAPHS.search(head))


def read_squad(path: Path, encoding: str | None = None) -> Rows:
    """The questions of a file, a row each; answers are [] where it says that there is none.

    Raises:
        KdnasError: It is no JSON, or not laid out as SQuAD; the message names the place.
    """
    text = read_text(path, encoding)
    try:
        content = json.loads(text.content)
    except (json.JSONDecodeError, RecursionError) as error:
        at = f"{error.msg} in line {error.lineno}" if isinstance(error, ValueError) else "too deep"
        raise KdnasError(f"{path} cannot be read as SQuAD JSON: {at}; copy it again") from None
    rows = list(_questions(content, str(path)))
    if not rows:
        raise KdnasError(f"{path} is empty: it has no question; expected {FORM}")
    # Official test files have no answers at all: a column that is not there.
    held = [any(key in row for row in rows) for key in HEADER]
    header = [key for key, there in zip(HEADER, held, strict=True) if there]
    cells = numbered([_clean(row.get(key)) for key in header] for row in rows)
    return Rows(str(path), header, cells, "question", assumed=text.assumed)


def _questions(content: Any, source: str) -> Iterator[dict[str, Any]]:
    for number, article in enumerate(_part(content, "data", source, ""), start=1):
        where = f"article {number}"
        title = article.get("title") if isinstance(article, dict) else None
        where += f" ({shown(title)!r})" if isinstance(title, str) else ""
        for count, paragraph in enumerate(
            _part(article, "paragraphs", source, f"{where}: "), start=1
        ):
            place = f"{where}, paragraph {count}: "
            for question in _part(paragraph, "qas", source, place):
                if not isinstance(question, dict):
                    raise KdnasError(
                        f"{source}, {place}a question is {kind_of(question)}; expected an object "
                        'such as {"id": "...", "question": "...", "answers": [...]}'
                    )
                named = {"title": title} if title is not None else {}
                yield {**question, **named, "context": paragraph.get("context")}


def _part(holder: Any, key: str, source: str, where: str) -> list[Any]:
    """The list that an object holds under a key."""
    found = holder.get(key) if isinstance(holder, dict) else None
    if isinstance(found, list):
        return found
    if not isinstance(holder, dict):
        problem = f"found {reprlib.repr(holder)[:40]!r} instead of an object with {key!r}"
    elif key not in holder:
        problem = f"lacks {key!r}"
    else:
        problem = f"{key!r} is {kind_of(found)}, not a list"
    raise KdnasError(f"{source}, {where or 'at its top: '}{problem}; expected {FORM}")


def _clean(cell: Any) -> Any:
    """Without lone surrogates, which JSON's escapes can make."""
    if isinstance(cell, str):
        return clean_text(cell)
    if isinstance(cell, list):
        return [
            {**one, "text": clean_text(one["text"])}
            if isinstance(one, dict) and isinstance(one.get("text"), str)
            else one
            for one in cell
        ]
    return cell
