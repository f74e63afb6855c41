"""What a report tells, gathered in one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdnas.space import Architecture
from kdnas.tasks.spec import TaskSpec

HAND_PICKED = "hand-picked, as fast"


@dataclass(frozen=True)
class Control:
    """A student that the winner must beat.

    Attributes:
        name: What it is.
        architecture: Its shape.
        folder: Its checkpoint.
    """

    name: str
    architecture: Architecture
    folder: Path


@dataclass(frozen=True)
class Results:
    """The end of a run.

    Attributes:
        spec: The task.
        teacher_name: As the user gave it.
        teacher_params: Its parameters.
        teacher_macs: Its multiply-accumulates, for an example of the length that is timed.
        teacher_architecture: Its shape.
        teacher_scores: By metric; empty where the teacher has no head for the task.
        winner: Number of the trial that was distilled.
        architecture: Its architecture.
        speedup_wanted: For which it was chosen, if for one.
        home: Folder of `student/` and `report.json`.
        student: `{"costs": ..., "scores": ...}`, measured on the shipped checkpoint.
        controls: The same for each control.
        grid: Latencies by batch size and length.
        space_size: Valid students in the search space.
        environment: Device, precision, threads, versions.
    """

    spec: TaskSpec
    teacher_name: str
    teacher_params: int
    teacher_macs: int
    teacher_architecture: Architecture
    teacher_scores: dict[str, float]
    winner: int
    architecture: Architecture
    speedup_wanted: float | None
    home: Path
    student: dict[str, Any]
    controls: list[tuple[Control, dict[str, Any]]]
    grid: list[dict[str, Any]]
    space_size: int
    environment: dict[str, Any]

    @property
    def main_score(self) -> str:
        """The score that stands for the others."""
        return self.spec.main_score
