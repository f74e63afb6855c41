"""What the workflow hands over at the end of a run, and the report made of it."""

from __future__ import annotations

from dataclasses import dataclass
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
)
from kdnas.report.search_summary import search_summary
from kdnas.report.verdict import verdict
from kdnas.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Results:
    """The end of a run.

    Attributes:
        spec: The task.
        examples: Evaluated rows by split.
        teacher: Without scores where it has no head for the task.
        student: The shipped checkpoint.
        controls: What the student is compared with.
        latency: Of the student and the teacher, by batch size and length.
        speedup_wanted: The speed-up that the student was chosen for, if any.
        space_size: Valid students in the search space.
        environment: Device, precision, threads, versions.
        home: Folder of `student/` and `report.json`.
    """

    spec: TaskSpec
    examples: dict[str, int]
    teacher: EvaluatedModel
    student: Student
    controls: list[ControlModel]
    latency: list[LatencyCell]
    speedup_wanted: float | None
    space_size: int
    environment: dict[str, Any]
    home: Path


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
    spec = results.spec
    report = Report(
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
        verdict="",
        speedup=results.student.speedup,
        speedup_wanted=results.speedup_wanted,
        teacher=results.teacher,
        student=results.student,
        controls=results.controls,
        search=search_summary(settings, table, control, results.space_size),
        latency=results.latency,
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
    return report.model_copy(update={"verdict": verdict(report)})
