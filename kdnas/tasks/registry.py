"""Tasks by name: built in, in the user's configuration, or in a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdnas.config import describes_a_task, expected, holds_settings, nearest
from kdnas.config.strict_yaml import read_mapping
from kdnas.errors import KdnasError
from kdnas.runtime.shown import shown
from kdnas.tasks.spec import TaskSpec

DEFAULT_TASK = "rotten-tomatoes"
_BUILT_IN = ("glue.yaml", "entities.yaml", "questions.yaml", "texts.yaml")


def benchmark_names() -> list[str]:
    """The built-in tasks that belong to a benchmark: what `--task all` stands for."""
    return [name for name, entry in _built_in().items() if "benchmark" in entry]


def load_spec(name: str | Path, extra: Mapping[str, Any] | None = None) -> TaskSpec:
    """The task of this name.

    Args:
        name: A name in `extra`, a built-in name, or a path to a YAML file that holds one entry.
            Letter case, `-` and `_` do not matter in a name: SST-2 is sst2.
        extra: The `tasks:` mapping of the user's configuration; it comes before the built-in tasks.

    Raises:
        KdnasError: No task has that name, or its entry is invalid.
    """
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        entries = read_mapping(Path(name), "a name to a task")
        if describes_a_task(entries):
            return _parse(str(entries.get("name", Path(name).stem)), entries, str(name))
        if holds_settings(entries):
            raise KdnasError(f"{name}: this is a settings file; give it with --config")
        if len(entries) != 1:
            held = f"the keys {', '.join(map(str, entries))}" if entries else "nothing"
            raise KdnasError(f"{name} holds {held}; give one task")
        [(key, entry)] = entries.items()
        return _parse(str(key), entry, str(name))
    for known, source in ((extra or {}, "tasks"), (_built_in(), "built-in tasks")):
        for key, entry in known.items():
            if _plain(str(key)) == _plain(str(name)):
                return _parse(str(key), entry, source)
    names = [*map(str, extra or {}), *_built_in()]
    close = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
    raise KdnasError(f"unknown task {str(name)!r}; {hint} (or give a YAML file that defines it)")


def load_specs(
    names: Sequence[str], extra: Mapping[str, Any] | None, where: str
) -> dict[str, TaskSpec]:
    """Tasks by their own names, each once.

    Args:
        names: As `load_spec` takes them.
        extra: Likewise.
        where: The option that has them, for messages.

    Raises:
        KdnasError: As of `load_spec`, or two different tasks have the same name.
    """
    found = dict[str, TaskSpec]()
    given = dict[str, str]()
    for name in names:
        spec = load_spec(name, extra)
        if found.setdefault(spec.name, spec) != spec:
            raise KdnasError(
                f"{where}: {given[spec.name]} and {name} are both called {spec.name!r}; give one "
                "of them another `name:`"
            )
        given.setdefault(spec.name, name)
    return found


def _parse(name: str, entry: Any, source: str) -> TaskSpec:
    """A task from an entry of a YAML mapping, whose source error messages name."""
    where = f"{source}: task {name!r}"
    if not isinstance(entry, Mapping):
        raise KdnasError(
            f"{where} is {entry!r}; give a mapping with keys such as text, label, labels"
        )
    for key in entry:
        if key not in (*TaskSpec.model_fields, "regression"):
            raise KdnasError(f"{where}: unknown key {key!r}{nearest(key, TaskSpec.model_fields)}")
    try:
        return TaskSpec.model_validate({"name": name, **entry})
    except ValidationError as error:
        raise KdnasError(f"{where}: {_one_line(error)}") from None


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


@cache
def _built_in() -> dict[str, Any]:
    files = (read_mapping(Path(__file__).with_name("built_in") / name) for name in _BUILT_IN)
    return {name: entry for file in files for name, entry in file.items()}


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] in ("too_long", "too_short"):  # only the columns have such limits
        count, most = first["ctx"]["actual_length"], "two" if first["loc"][0] == "text" else "more"
        return f"{first['loc'][0]} has {count} columns; give one or {most}"
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"it lacks {where!r}; give it"
    own = first["type"] == "value_error"
    reason = first["msg"].removeprefix("Value error, ") if own else expected(first)
    return f"{where} is {shown(first['input'])}: {reason}" if where else reason
