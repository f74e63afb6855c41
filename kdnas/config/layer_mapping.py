"""Which teacher layers a student's layers learn from, as a person says it: a name or a list."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

MapName = Literal["skip+last", "skip", "last", "evenly", "learned"]
# Of each student layer, its teacher layers.
Targets = tuple[tuple[int, ...], ...]
MOST_LAYERS = 1000


def read_mapping(value: Any) -> MapName | dict[int, Targets]:
    """A name, or teacher layers by the depth of a student.

    `3,6,9`, `[3, 6, 9]` and `{3: [3, 6, 9]}` all are for students of three layers; `1+2,3` and
    `[[1, 2], 3]` give a layer two.

    Raises:
        PydanticCustomError: It is neither.
    """
    if isinstance(value, str):
        if value in get_args(MapName):
            return value  # type: ignore[return-value]
        value = [part.split("+") for part in value.split(",")]
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, list | tuple):
        value = {len(value): value}
    try:
        found = {_number(depth): _targets(layers) for depth, layers in value.items()}
    except (AttributeError, TypeError, ValueError):
        found = {}
    if not found:
        raise PydanticCustomError(
            "mapping",  # type: ignore[arg-type]
            f"expected {', '.join(get_args(MapName))}, or the teacher layer of each student layer, "  # type: ignore[arg-type]
            "such as 3,6,9; in a YAML file for each depth of the space {3: [2, 4, 6], 2: [3, 6]}",
        )
    for depth, targets in found.items():
        if depth != len(targets):
            raise PydanticCustomError(
                "mapping",  # type: ignore[arg-type]
                f"expected {depth} entries for students of depth {depth}, found {len(targets)}",  # type: ignore[arg-type]
            )
    return found


LayerMapping = Annotated[MapName | dict[int, Targets], BeforeValidator(read_mapping)]


def mapping_in_words(mapping: MapName | dict[int, Targets]) -> str:
    """A mapping as a person gives it: `skip`, `3,6,9`, `{3: 2+3,4,6, 2: 3,6}`."""
    if isinstance(mapping, str):
        return mapping
    lists = {
        depth: ",".join("+".join(map(str, layers)) for layers in targets)
        for depth, targets in mapping.items()
    }
    if len(lists) == 1:
        return next(iter(lists.values()))
    return f"{{{', '.join(f'{depth}: {layers}' for depth, layers in lists.items())}}}"


def _targets(value: Any) -> Targets:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError
    return tuple(_layers(entry) for entry in value)


def _layers(value: Any) -> tuple[int, ...]:
    layers = value if isinstance(value, list | tuple) else (value,)
    if not layers:
        raise ValueError
    return tuple(map(_number, layers))


def _number(value: Any) -> int:
    if isinstance(value, bool | float):
        raise ValueError
    number = int(value)
    if not 0 < number <= MOST_LAYERS:
        raise ValueError
    return number
