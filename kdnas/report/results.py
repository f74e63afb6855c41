"""What the workflow hands over at the end of a run, and the report made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kdnas import __version__
from kdnas.config import Settings
from kdnas.measure.onnx import runtime_name
from kdnas.measure.quiet import how_measured
from kdnas.report.model import (
    VERSION,
    ControlModel,
    Environment,
    EvaluatedModel,
    LatencyCell,
    Report,
    Student,
    TrainedStage,
    shown_name,
)
from kdnas.report.search_summary import search_summary
from kdnas.report.verdict import verdict
from kdnas.space import Architecture
from kdnas.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Control:
    """A student that the winner is compared with: its name, shape and checkpoint."""

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
        speedup_wanted: The speed-up it was chosen for, if any.
        home: Folder of `student/` and `report.json`.
        student: `{"costs": ..., "scores": ..., "intervals": ...}` of the shipped checkpoint; the
            intervals are optional.
        controls: The same for each control.
        grid: Latencies by batch size and length.
        space_size: Valid students in the search space.
        environment: Device, precision, threads, versions.
        teacher_intervals: 95% confidence intervals of its scores, where known.
        examples: Evaluated rows by split, where known.
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
    teacher_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    examples: dict[str, int] = field(default_factory=dict)


def make_report(
    settings: Settings,
    table: pd.DataFrame,
    control: pd.DataFrame | None,
    results: Results,
    seconds: dict[str, float],
) -> Report:
    """The report of a run.

    Args:
        settings: Of the run.
        table: The trial table.
        control: That of random search, if there was one.
        results: Scores and costs.
        seconds: Wall time by step.
    """
    spec, costs = results.spec, results.student["costs"]
    teacher = EvaluatedModel(
        name=results.teacher_name,
        architecture=results.teacher_architecture,
        params=results.teacher_params,
        macs=results.teacher_macs,
        latency_ms=round(costs["teacher_latency_ms"], 3),
        speedup=1.0,
        scores=_rounded(results.teacher_scores),
        intervals=results.teacher_intervals,
    )
    student = Student(
        name=results.architecture.label,
        architecture=results.architecture,
        trial=results.winner,
        latency_iqr_ms=round(costs["latency_iqr_ms"], 3),
        **_measured(results.student),
    )
    controls = [
        ControlModel(name=c.name, architecture=c.architecture, folder=c.folder.name, **_measured(m))
        for c, m in results.controls
    ]
    by_name = {shown_name(control, student.speedup): control for control in controls}
    return Report(
        version=VERSION,
        kdnas=__version__,
        task=spec.name,
        task_type=spec.type,
        dataset=spec.hub.path if spec.hub else spec.name,
        dataset_config=spec.hub.name if spec.hub else None,
        dataset_name=" ".join(filter(None, (spec.benchmark, spec.name.upper()))),
        evaluation=list(spec.evaluation),
        examples=results.examples,
        main_score=spec.main_score,
        verdict=verdict(teacher, student, by_name, spec.main_score, results.examples),
        speedup=student.speedup,
        speedup_wanted=results.speedup_wanted,
        teacher=teacher,
        student=student,
        controls=controls,
        search=search_summary(settings, table, control, results.space_size),
        latency=[LatencyCell(**cell) for cell in results.grid],
        recipe=[
            TrainedStage(**stage.model_dump(mode="json", exclude_defaults=True))
            for stage in settings.recipe
        ],
        seconds=seconds,
        environment=Environment(
            **results.environment,
            latency_batch=settings.latency_batch,
            latency_length=settings.latency_length,
            latency_runtime=runtime_name(settings.latency_runtime),
            latency_measured=how_measured(settings.latency_quiet),
        ),
    )


def _measured(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of an EvaluatedModel that were measured on its checkpoint."""
    costs = found["costs"]
    return {
        **{name: costs[name] for name in ("params", "macs")},
        **{name: round(costs[name], 3) for name in ("latency_ms", "speedup")},
        "scores": _rounded(found["scores"]),
        "intervals": found.get("intervals", {}),
    }


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in scores.items()}
