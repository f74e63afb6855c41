"""Reads settings from YAML files and flags; errors take one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdnas.config.recipe import Stage
from kdnas.config.settings import Settings
from kdnas.errors import KdnasError

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
    "a valid ": "a ",
    "tuple": "list",
    "dictionary": "mapping",
}


def load_settings(
    files: Sequence[Path] | None,
    flags: dict[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from YAML files (a later one wins), overridden by flags.

    Args:
        files: Mappings of option names to values.
        flags: Options given on the command line.
        defaults: What holds where neither sets an option.

    Raises:
        KdnasError: A file cannot be read, a key is unknown, or a value is out of range.
    """
    values, origins = dict(defaults or {}), dict[str, Path]()
    for file in files or ():
        found = read_yaml(file)
        values |= found
        origins |= dict.fromkeys(found, file)
    return validated(values | flags, {k: file for k, file in origins.items() if k not in flags})


def validated(values: dict[str, Any], origins: Mapping[str, Path] | None = None) -> Settings:
    """Settings from plain values by option; `origins` names the files that some were read from.

    Raises:
        KdnasError: A key is unknown (the nearest known one is named) or a value is out of range.
    """
    origins = origins or {}
    for key in values:
        if key not in Settings.model_fields:
            hint = nearest(key, Settings.model_fields) or "; kdnas search --help lists them"
            raise KdnasError(_from_file(f"unknown option {key!r}{hint}", origins.get(key)))
    try:
        return Settings(**values)
    except ValidationError as error:
        raise KdnasError(_with_origin(_one_line(error), origins)) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file, its keys with underscores.

    Raises:
        KdnasError: The file is missing, is not YAML, or is not a mapping.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise KdnasError(f"cannot read {file}: {error}") from None
    except yaml.YAMLError as error:
        # The fault and its place, without the line itself, which may hold a password.
        fault = getattr(error, "problem", None) or type(error).__name__
        if mark := getattr(error, "problem_mark", None):
            fault += f" in line {mark.line + 1}, column {mark.column + 1}"
        raise KdnasError(f"invalid {file}: it is not YAML: {fault}") from None
    if not isinstance(values, dict):
        raise KdnasError(
            f"invalid {file}: it holds a {type(values).__name__}; expected a mapping of options"
        )
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for a mistyped word, or the list of what is known if it is short."""
    words = [str(w) for w in known]
    if match := difflib.get_close_matches(str(word), words, n=1, cutoff=0.5):
        return f"; did you mean {match[0]!r}?"
    return f"; known: {', '.join(sorted(words))}" if len(words) <= MOST_LISTED else ""


def _with_origin(message: str, origins: Mapping[str, Path]) -> str:
    """Names the file that holds the fault, and its key in place of a flag that nobody typed."""
    option = re.match(r"(?:[a-z]+ )*--([a-z-]+)", message)
    key = option[1].replace("-", "_") if option else "stages"  # checked against each other
    if option and key in origins:
        message = message.replace(f"--{option[1]}", key, 1)
    return _from_file(message, origins.get(key))


def _from_file(message: str, file: Path | None) -> str:
    return f"{file}: {message}" if file else message


def _one_line(error: ValidationError) -> str:
    """The first fault: the option, the value, and what was expected."""
    first = error.errors()[0]
    if not first["loc"] or first["type"] == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    loc = first["loc"][:-2] if first["loc"][-1] == "[key]" else first["loc"]
    where = ".".join(map(str, loc)).replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"unknown option --{where}{nearest(str(first['loc'][-1]), Stage.model_fields)}"
    if first["type"] == "missing":
        return f"missing --{where}"
    reason = str(first["msg"]).partition(",")[0] if "parsing" in first["type"] else first["msg"]
    for theirs, ours in WORDS.items():
        reason = reason.replace(theirs, ours)
    return f"invalid --{where} {first['input']}: {reason[0].lower()}{reason[1:]}"
