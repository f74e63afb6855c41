"""Reads settings from YAML files and flags; errors take one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdnas.config.settings import Settings
from kdnas.config.stages import Stage
from kdnas.errors import KdnasError

# An error line lists at most this many words.
MOST_LISTED = 20
# From pydantic's words to a person's, in this order.
WORDS = {
    "Input should be ": "expected ",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "a number above",
    "less than": "a number below",
    "a valid integer": "an integer",
    "a valid ": "a ",
    "tuple": "list",
    "dictionary": "mapping",
}
# Options of YAML files alone: errors between them name no flag.
YAML_ONLY = ("stages", "mini_losses", "transfer_methods")


def load_settings(
    files: Sequence[Path] | None,
    flags: dict[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from YAML files overridden by flags.

    Args:
        files: YAML mappings of option names to values; a later one wins.
        flags: Options given on the command line; they win over all.
        defaults: What holds where neither sets an option.

    Raises:
        KdnasError: A file cannot be read, a key is unknown, or a value is out of range.
    """
    values, origins = dict(defaults or {}), dict[str, Path]()
    for file in files or ():
        found = read_yaml(file)
        values |= found
        origins |= dict.fromkeys(found, file)
    return validated(
        {**values, **flags}, {key: file for key, file in origins.items() if key not in flags}
    )


def validated(values: dict[str, Any], origins: Mapping[str, Path] | None = None) -> Settings:
    """Settings from plain values.

    Args:
        values: By option.
        origins: The files that some of them were read from.

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
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KdnasError(f"cannot read {file}: {error}") from None
    except yaml.YAMLError as error:
        raise KdnasError(f"invalid {file}: it is not YAML: {_place(error)}") from None
    if not isinstance(values or {}, dict):
        raise KdnasError(
            f"invalid {file}: it holds a {type(values).__name__}; expected a mapping of options"
        )
    return {str(key).replace("-", "_"): value for key, value in (values or {}).items()}


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for a mistyped word, or the list of what is known if it is short."""
    words = [str(w) for w in known]
    match = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; known: {', '.join(sorted(words))}" if len(words) <= MOST_LISTED else ""


def _with_origin(message: str, origins: Mapping[str, Path]) -> str:
    """Names the file that holds the fault, and its key in place of a flag that nobody typed."""
    option = re.match(r"(?:[a-z]+ )*--([a-z-]+)", message)
    if option is None:
        return _from_file(
            message, next((origins[key] for key in YAML_ONLY if key in origins), None)
        )
    key = option[1].replace("-", "_")
    if key not in origins:
        return message
    return _from_file(message.replace(f"--{option[1]}", key, 1), origins[key])


def _from_file(message: str, file: Path | None) -> str:
    return f"{file}: {message}" if file else message


def _place(error: yaml.YAMLError) -> str:
    """The fault and its place, without the line itself, which may hold a password."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    said = str(problem or type(error).__name__)
    return f"{said} in line {mark.line + 1}, column {mark.column + 1}" if mark else said


def _one_line(error: ValidationError) -> str:
    """The first fault: the option, the value, and what was expected."""
    first = error.errors()[0]
    if not first["loc"] or first["type"] == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in first["loc"]).replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"unknown option --{where}{nearest(str(first['loc'][-1]), Stage.model_fields)}"
    if first["type"] == "missing":
        return f"missing --{where}"
    reason = str(first["msg"]).partition(",")[0] if "parsing" in first["type"] else first["msg"]
    for theirs, ours in WORDS.items():
        reason = reason.replace(theirs, ours)
    return f"invalid --{where} {first['input']}: {reason[0].lower()}{reason[1:]}"
