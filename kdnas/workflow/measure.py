"""Step 6: scores and costs of finished students, beside the teacher's."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial
from transformers import PreTrainedModel

from kdnas import __version__
from kdnas.distillation.training import predict
from kdnas.evaluation.scores import evaluate_model
from kdnas.measure import count_params
from kdnas.measure.latency import cells_for, latency_grid
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
from kdnas.report.trials_table import trial_table
from kdnas.report.verdict import verdict
from kdnas.runs.context import Context, run_step
from kdnas.space import Architecture
from kdnas.students.checkpoint import load_student
from kdnas.tasks.metrics import compute_metrics, score_intervals
from kdnas.teachers.load import EMBEDDED_NAME, load_teacher
from kdnas.workflow.inputs import Inputs
from kdnas.workflow.prepare import Prepared

FINAL_REPEATS = 100


@dataclass(frozen=True)
class Control:
    """A student that the winner is compared with: its name, shape and checkpoint."""

    name: str
    architecture: Architecture
    folder: Path


def measured(prepared: Prepared, architecture: Architecture, folder: Path) -> dict[str, Any]:
    """Scores and costs of a saved student, measured once on each machine."""
    run = prepared.context.run

    def compute() -> dict[str, Any]:
        model = load_teacher(str(folder), prepared.inputs.data.spec).model
        costs = prepared.meter.of_model(model, FINAL_REPEATS)
        return {"costs": asdict(costs), **scored(prepared, model)}

    name = " ".join(("evaluate", *folder.relative_to(run.folder).parts))
    key = {"architecture": architecture.params, **_machine(prepared)}
    return run_step(prepared.context, name, key, compute)


def latency_table(
    prepared: Prepared, architecture: Architecture, folder: Path
) -> list[dict[str, Any]]:
    """Latencies of a saved student and the teacher by batch size and length, measured once."""
    run, settings, meter = prepared.context.run, prepared.context.settings, prepared.meter
    longest = prepared.inputs.data.length
    cells = cells_for(longest, settings.latency_batch, settings.latency_length)
    key = {
        "architecture": architecture.params,
        "cells": cells,
        **_machine(prepared),
    }

    def compute() -> list[dict[str, Any]]:
        student, teacher = meter.timed(load_student(folder)), meter.timed_teacher
        return latency_grid(student, teacher, cells, settings.latency_quiet)

    name = " ".join(("latency", *folder.relative_to(run.folder).parts))
    return run_step(prepared.context, name, key, compute)


def scored(prepared: Prepared, model: PreTrainedModel) -> dict[str, Any]:
    """A model's official `scores` on the task's evaluation splits, and their 95% `intervals`."""
    data, exact = prepared.inputs.data, prepared.context.runtime.exact
    found: dict[str, Any] = {"scores": {}, "intervals": {}}
    for split, examples in data.evaluation.items():
        logits = predict(model, examples, exact, pad_id=prepared.teacher.pad_id).numpy()
        assert examples.labels is not None
        found["scores"] |= compute_metrics(data.spec, logits, examples.labels, split)
        found["intervals"] |= score_intervals(data.spec, logits, examples.labels, split)
    return found


def official_scores(
    context: Context, inputs: Inputs, model: PreTrainedModel, pad_id: int
) -> dict[str, float]:
    """Every metric of the task on its evaluation splits, in fp32.

    Args:
        context: Of the run.
        inputs: Of the run.
        model: Its outputs are in the order of the task's labels.
        pad_id: Token that fills short rows.
    """
    data, exact = inputs.data, context.runtime.exact
    return evaluate_model(model, data.evaluation, data.spec, exact, pad_id)


def make_report(
    prepared: Prepared,
    study: Study,
    random: Study | None,
    winner: FrozenTrial,
    home: Path,
    controls: list[Control],
    speedup: float | None,
) -> Report:
    """The report of a distilled trial; measures what is not measured yet.

    Args:
        prepared: Of the run.
        study: Of the search.
        random: Of random search, if there is one.
        winner: The trial that was distilled.
        home: Folder of `student/`.
        controls: What it is compared with.
        speedup: The limit that it was chosen under, if any.
    """
    context, inputs, teacher = prepared.context, prepared.inputs, prepared.teacher
    settings, spec = context.settings, inputs.data.spec
    architecture, folder = Architecture.from_params(winner.params), home / "student"
    student = _model_fields(prepared, architecture, folder)
    costs = measured(prepared, architecture, folder)["costs"]
    found: dict[str, Any] = {"scores": {}}
    if teacher.has_head:
        found = run_step(context, "evaluate teacher", {}, lambda: scored(prepared, teacher.model))
    grid = latency_table(prepared, architecture, folder)
    tables = trial_table(study), trial_table(random) if random else None
    report = Report(
        version=VERSION,
        kdnas=__version__,
        task=spec.name,
        task_type=spec.type,
        dataset=spec.hub.path if spec.hub else spec.name,
        dataset_config=spec.hub.name if spec.hub else None,
        dataset_name=" ".join(filter(None, (spec.benchmark, spec.name.upper()))),
        evaluation=list(spec.evaluation),
        examples={split: len(rows) for split, rows in inputs.data.evaluation.items()},
        main_score=spec.main_score,
        verdict="",
        speedup=student["speedup"],
        speedup_wanted=speedup,
        teacher=EvaluatedModel(
            name=settings.teacher or EMBEDDED_NAME,
            architecture=inputs.space.teacher,
            params=count_params(teacher.model),
            macs=prepared.meter.teacher_macs,
            latency_ms=costs["teacher_latency_ms"],
            speedup=1.0,
            **found,
        ),
        student=Student(
            name=architecture.label,
            trial=winner.number,
            latency_iqr_ms=costs["latency_iqr_ms"],
            **student,
        ),
        controls=[
            ControlModel(
                name=c.name,
                folder=c.folder.name,
                **_model_fields(prepared, c.architecture, c.folder),
            )
            for c in controls
        ],
        search=search_summary(settings, *tables, len(inputs.space.candidates)),
        latency=[LatencyCell(**cell) for cell in grid],
        recipe=[
            TrainedStage(**stage.model_dump(mode="json", exclude_defaults=True))
            for stage in settings.recipe
        ],
        seconds=context.run.seconds(),
        environment=Environment(
            **context.runtime.describe(),
            latency_batch=settings.latency_batch,
            latency_length=settings.latency_length,
            latency_runtime=runtime_name(settings.latency_runtime),
            latency_measured=how_measured(settings.latency_quiet),
        ),
    )
    return report.model_copy(update={"verdict": verdict(report)})


def _model_fields(prepared: Prepared, architecture: Architecture, folder: Path) -> dict[str, Any]:
    """What an EvaluatedModel says of a checkpoint."""
    found = measured(prepared, architecture, folder)
    costs = {name: found["costs"][name] for name in ("params", "macs", "latency_ms", "speedup")}
    scores = {name: found[name] for name in ("scores", "intervals")}
    return {"architecture": architecture, **costs, **scores}


def _machine(prepared: Prepared) -> dict[str, Any]:
    """Latencies belong to a machine: on another one they are measured again."""
    return {"host": platform.node(), "environment": prepared.context.runtime.describe()}
