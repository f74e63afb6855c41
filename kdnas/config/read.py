"""Settings from YAML files and flags; what is wrong with them, in one line."""

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

# A longer list of words is no help in a line.
MOST_LISTED = 20
# What YAML has, in place of what Python makes of it.
WORDS = {"tuple": "list", "dictionary": "mapping"}
# Options whose contradictions name no flag.
OF_FILES = ("stages", "mini_losses", "transfer_methods")


def load_settings(
    files: Sequence[Path] | None,
    flags: dict[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from YAML files overridden by flags.

    Args:
        files: YAML mappings of option names to values; a later one wins.
        flags: Options given on the command line; they win over all.
        defaults: What holds where neither says anything.

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
        raise KdnasError(f"{file} is not YAML: {_place(error)}") from None
    if not isinstance(values or {}, dict):
        raise KdnasError(f"{file} holds a {type(values).__name__}; it should map options to values")
    return {str(key).replace("-", "_"): value for key, value in (values or {}).items()}


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for a mistyped word, or the list of what is known if it is short."""
    words = [str(w) for w in known]
    match = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; known: {', '.join(sorted(words))}" if len(words) <= MOST_LISTED else ""


def _with_origin(told: str, origins: Mapping[str, Path]) -> str:
    """Names the file that holds what is wrong, and its key in place of a flag nobody typed."""
    option = re.match(r"--([a-z-]+)", told)
    if option is None:
        # A contradiction in or between options that only files can hold.
        return _from_file(told, next((origins[key] for key in OF_FILES if key in origins), None))
    key = option[1].replace("-", "_")
    if key not in origins:
        return told
    return _from_file(f"{key}{told.removeprefix(option[0])}", origins[key])


def _from_file(told: str, file: Path | None) -> str:
    return f"{file}: {told}" if file else told


def _place(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the line itself, which may hold a password."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    said = str(problem or type(error).__name__)
    return f"{said} in line {mark.line + 1}, column {mark.column + 1}" if mark else said


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"] or first["type"] == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in first["loc"]).replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"unknown option --{where}{nearest(str(first['loc'][-1]), Stage.model_fields)}"
    if first["type"] == "missing":
        return f"--{where} is missing"
    reason = first["msg"][0].lower() + first["msg"][1:]
    for theirs, ours in WORDS.items():
        reason = reason.replace(theirs, ours)
    return f"--{where} is {first['input']}: {reason}"
