"""Reads settings from plain values and YAML files; errors take one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdnas.config.recipe import Stage
from kdnas.config.settings import Settings
from kdnas.config.strict_yaml import read_mapping
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, redact, remember_secrets, shown

# Keys that a recipe's file has beside settings.
OF_A_RECIPE_FILE = ("summary", "paper", "needs", "without_corpus")
# What nobody mistyped; comparing it with all words would take long.
LONGEST_WORD = 60
# An error line lists at most this many words.
MOST_LISTED = 20
# From pydantic's words to a person's, in this order.
WORDS = {
    "Input should be ": "expected ",
    "Dictionary should have ": "expected ",
    " after validation, not 0": "",
    " or instance of Stage": "",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "a number above",
    "less than": "a number below",
    "a valid integer": "an integer",
    "a valid string": "a text",
    "a valid ": "a ",
    "Unable to parse input string as ": "expected ",
    "tuple": "list",
    "dictionary": "mapping",
}


def validated(values: dict[str, Any], origins: Mapping[str, Path] | None = None) -> Settings:
    """Settings from plain values by option; `origins` names the files that some were read from.

    Raises:
        KdnasError: A key is unknown (the nearest known one is named) or a value is out of range.
    """
    origins = origins or {}
    for key in values:
        if key in OF_A_RECIPE_FILE and key not in Settings.model_fields:
            where = origins.get(key)
            raise KdnasError(
                _from_file(f"{quoted(key)} belongs to a recipe; give its file as --recipe", where)
            )
        if key not in Settings.model_fields:
            hint = nearest(key, Settings.model_fields) or "; kdnas search --help-all lists them"
            raise KdnasError(_from_file(f"unknown option {quoted(key)}{hint}", origins.get(key)))
    remember_secrets(str(values.get("storage") or ""))
    try:
        return Settings(**values)
    except ValidationError as error:
        raise KdnasError(one_line_of(error, origins)) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file, its keys with underscores.

    Raises:
        KdnasError: The file is missing, is not plain YAML, or holds something else.
    """
    found: dict[str, Any] = {}
    for key, value in read_mapping(file).items():
        name = key.replace("-", "_")
        if name in found:
            raise KdnasError(
                f"invalid {shown(file)}: {quoted(name)} stands twice, once with a dash; leave one "
                "out"
            )
        found[name] = value
    return found


def describes_a_task(entry: Mapping[str, Any]) -> bool:
    """Whether a file's mapping is a task's entry: those have a text column or a type."""
    return "text" in entry or isinstance(entry.get("type"), str)


def holds_settings(values: Mapping[str, Any]) -> bool:
    """Whether a file's mapping has options; a task's name may be that of one."""
    known = [k for k in values if str(k).replace("-", "_") in Settings.model_fields]
    return any(not (isinstance(values[k], dict) and describes_a_task(values[k])) for k in known)


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for a mistyped word, or the list of what is known if it is short."""
    words = [str(w) for w in known]
    if len(str(word)) > LONGEST_WORD:
        return ""
    if match := difflib.get_close_matches(str(word), words, n=1, cutoff=0.5):
        return f"; did you mean {match[0]!r}?"
    return f"; known: {', '.join(sorted(words))}" if len(words) <= MOST_LISTED else ""


def one_line_of(error: ValidationError, origins: Mapping[str, Path]) -> str:
    """The first fault that pydantic found, with the file that holds it."""
    return _with_origin(_one_line(error), origins)


def _with_origin(message: str, origins: Mapping[str, Path]) -> str:
    """Names the file that holds the fault, and its key in place of a flag that nobody typed."""
    option = re.match(r"(?:[a-z]+ )*--([a-z-]+)", message)
    key = option[1].replace("-", "_") if option else "stages"  # checked against each other
    if option and key in origins:
        message = message.replace(f"--{option[1]}", key, 1)
    return _from_file(message, origins.get(key))


def _from_file(message: str, file: Path | None) -> str:
    return f"{shown(file)}: {message}" if file else message


def _one_line(error: ValidationError) -> str:
    """The first fault: the option, the value, and what was expected."""
    first = error.errors()[0]
    if not first["loc"] or first["type"] == "value_error":
        return redact(str(first["msg"]).removeprefix("Value error, "))
    loc = first["loc"][:-2] if first["loc"][-1] == "[key]" else first["loc"]
    where = ".".join(map(str, loc)).replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"unknown option --{where}{nearest(str(first['loc'][-1]), Stage.model_fields)}"
    given = first["input"]
    if first["type"] == "missing":
        return _misspelt(first) or f"missing --{where}"
    # What is no text at all may have a password anywhere.
    value = shown(given) if where != "storage" or isinstance(given, str) else "of another kind"
    return f"invalid --{where} {value}: {expected(first)}"


def _misspelt(fault: Any) -> str | None:
    """Of a key that a stage lacks: the unknown one that was meant for it, where one is near."""
    if fault["loc"][0] != "stages" or not isinstance(fault["input"], dict):
        return None
    *_, index, lost = fault["loc"]
    others = [str(key) for key in fault["input"] if key not in Stage.model_fields]
    near = difflib.get_close_matches(lost, others, n=1, cutoff=0.5)
    name = fault["input"].get("name", index)
    return f"unknown key {near[0]!r} of stage {name!r}; did you mean {lost!r}?" if near else None


def expected(fault: Any) -> str:
    """What a value should have been, of a fault that pydantic found."""
    if fault["type"] in ("string_type", "path_type"):
        what = "a path" if fault["type"] == "path_type" else "a text"
        return f"expected {what}" + ("; put it in quotes" * isinstance(fault["input"], int | float))
    reason = str(fault["msg"]).partition(",")[0] if "parsing" in fault["type"] else fault["msg"]
    return in_our_words(reason)


def in_our_words(reason: str) -> str:
    """Why pydantic refuses a value, as we say it."""
    for theirs, ours in WORDS.items():
        reason = reason.replace(theirs, ours)
    return f"{reason[:1].lower()}{reason[1:]}"
