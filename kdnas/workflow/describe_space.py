"""What `kdnas space` prints."""

from __future__ import annotations

from typing import Any

from kdnas.config import Settings
from kdnas.measure import count_macs, count_params
from kdnas.space.architecture import Architecture
from kdnas.space.search_space import SearchSpace
from kdnas.students import empty_student
from kdnas.teachers.load import load_config, longest_input, teacher_source


def describe(settings: Settings) -> dict[str, Any]:
    """Choices, number of valid students, and the smallest, the largest and the teacher.

    Raises:
        KdnasError: The teacher is no encoder, or the space is empty.
    """
    source = teacher_source(settings.teacher)
    config = load_config(source)
    space = SearchSpace.from_teacher(config, source, settings.space)
    length = min(settings.latency_length, longest_input(config))
    return {
        "teacher": {"name": source, **_described(config, space.teacher, length)},
        "choices": {name: list(values) for name, values in space.choices.items()},
        "students": len(space.architectures),
        "smallest": _described(config, space.smallest, length),
        "largest": _described(config, space.largest, length),
        "macs_length": length,
    }


def lines(described: dict[str, Any]) -> list[str]:
    """The description for people."""
    length = described["macs_length"]
    shown = [f"teacher   {described['teacher']['name']}", f"          {_row(described['teacher'])}"]
    shown += [f"{name:<20} {', '.join(map(str, v))}" for name, v in described["choices"].items()]
    shown += [f"{described['students']:,} valid students"]
    shown += [f"{name:<9} {_row(described[name])}" for name in ("smallest", "largest")]
    return [*shown, f"MACs: multiply-accumulates for one example of {length} tokens"]


def _described(config: Any, architecture: Architecture, length: int) -> dict[str, Any]:
    student = empty_student(config, architecture).eval()
    return {
        "architecture": architecture.params,
        "params": count_params(student),
        "macs": count_macs(student, length),
    }


def _row(described: dict[str, Any]) -> str:
    label = Architecture.from_params(described["architecture"]).label
    return f"{label}  {described['params'] / 1e6:.2f}M params  {described['macs'] / 1e6:,.1f}M MACs"
