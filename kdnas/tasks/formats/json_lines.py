"""JSON objects in a file: one a line, or in an array, each with its place."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.tasks.examples import clean_text

_SPACE = re.compile(r"[ \t\r\n]*")


def json_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file or a JSON array, each with the line that it begins in.

    Lone surrogates in keys and texts become replacement characters.

    Raises:
        KdnasError: Anything else stands there; the message names the line.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    read = _array_items if text.lstrip().startswith("[") else _line_items
    items = read(text, decoder)
    try:
        for number, item in items:
            if not isinstance(item, dict):
                found = reprlib.repr(item)[:40]
                raise KdnasError(
                    f"{path}, line {number}: found {found!r}; expected a JSON object "
                    "with a key for each column"
                )
            yield number, item
    except _BadJsonError as error:
        raise KdnasError(f"{path} cannot be read as JSON lines: {error}") from None


class _BadJsonError(Exception):
    """What is wrong, and in which line."""


def _line_items(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            item, end = _decoded(decoder, line, _after_space(line, 0), number)
            if line[end:].strip():
                raise _BadJsonError(f"something follows the object in line {number}")
            yield number, item


def _array_items(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
    """The items of an array, read one after the other so that each has its line."""
    at, counted, line = _after_space(text, text.index("[") + 1), 0, 1
    more = text[at : at + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, at), at
        item, at = _decoded(decoder, text, at, line)
        yield line, item
        at = _after_space(text, at)
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] not in {",", "]"}:
            raise _BadJsonError(f"expected a comma or the end of the array in line {line}")
        more = text[at] == ","
        at = _after_space(text, at + 1) if more else at
    if text[at + 1 :].strip():
        raise _BadJsonError(f"something follows the array in line {line}")


def _decoded(decoder: json.JSONDecoder, text: str, at: int, line: int) -> tuple[Any, int]:
    """The value that begins at a place of a text, which is in this line, and where it ends."""
    try:
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        line += text.count("\n", at, error.pos)
        raise _BadJsonError(f"{error.msg} in line {line}") from None
    except RecursionError:
        raise _BadJsonError(f"brackets are nested too deeply in line {line}") from None
    except _TwiceError as error:
        raise _BadJsonError(f"the key {error.args[0]!r} occurs twice in line {line}") from None
    except ValueError:  # Python reads numbers of 4,300 digits at most
        raise _BadJsonError(f"a number has too many digits in line {line}") from None


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


class _TwiceError(Exception):
    """A key that an object has twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {
        clean_text(key): clean_text(value) if isinstance(value, str) else value
        for key, value in pairs
    }
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next((key for key in keys if keys.count(key) > 1), keys[0])[:40])
    return found
