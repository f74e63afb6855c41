"""Settings from YAML files and flags; what is wrong with them, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdnas.config.settings import Settings
from kdnas.config.stages import Stage
from kdnas.errors import KdnasError


def load_settings(files: Sequence[Path] | None, flags: dict[str, Any]) -> Settings:
    """Settings from YAML files overridden by flags.

    Args:
        files: YAML mappings of option names to values; a later one wins.
        flags: Options given on the command line; they win over all.

    Raises:
        KdnasError: A file cannot be read, a key is unknown, or a value is out of range.
    """
    return validated({**read_yamls(files), **flags})


def validated(values: dict[str, Any]) -> Settings:
    """Settings from plain values.

    Raises:
        KdnasError: A key is unknown (the nearest known one is named) or a value is out of range.
    """
    for key in values:
        if key not in Settings.model_fields:
            raise KdnasError(f"unknown option {key!r}{nearest(key, Settings.model_fields)}")
    try:
        return Settings(**values)
    except ValidationError as error:
        raise KdnasError(_one_line(error)) from None


def read_yamls(files: Sequence[Path] | None) -> dict[str, Any]:
    """The mappings in some YAML files, merged; a later file wins.

    Raises:
        KdnasError: One of them cannot be read.
    """
    return {key: value for file in files or () for key, value in read_yaml(file).items()}


def read_yaml(file: Path | None) -> dict[str, Any]:
    """The mapping in a YAML file, its keys with underscores; empty for None.

    Raises:
        KdnasError: The file is missing, is not YAML, or is not a mapping.
    """
    if file is None:
        return {}
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
    """`; did you mean 'x'?` for a mistyped word, or the list of what is known."""
    words = [str(w) for w in known]
    match = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(sorted(words))}"


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
    return f"--{where} is {first['input']}: {reason}"
