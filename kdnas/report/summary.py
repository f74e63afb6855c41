"""report.json: the run in numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdnas import __version__
from kdnas.config import Settings
from kdnas.measure.onnx import runtime_name
from kdnas.measure.quiet import how_measured
from kdnas.report.results import Results
from kdnas.report.search import search_summary


def summary(
    settings: Settings,
    table: pd.DataFrame,
    control: pd.DataFrame | None,
    results: Results,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The content of report.json.

    Args:
        settings: Of the run.
        table: The trial table.
        control: That of random search, if there was one.
        results: Scores and costs.
        seconds: Wall time by step.
    """
    costs = results.student["costs"]
    return {
        "task": results.spec.name,
        "task_type": results.spec.type,
        "kdnas": __version__,
        "dataset": results.spec.hub.path if results.spec.hub else results.spec.name,
        "dataset_config": results.spec.hub.name if results.spec.hub else None,
        "dataset_name": " ".join(filter(None, (results.spec.benchmark, results.spec.name.upper()))),
        "evaluation": list(results.spec.evaluation),
        "main_score": results.main_score,
        "teacher": {
            "name": results.teacher_name,
            "params": results.teacher_params,
            "macs": results.teacher_macs,
            "architecture": results.teacher_architecture.params,
            "latency_ms": round(costs["teacher_latency_ms"], 3),
            "scores": rounded(results.teacher_scores),
        },
        "student": {
            "name": results.architecture.label,
            "params": costs["params"],
            "macs": costs["macs"],
            "latency_ms": round(costs["latency_ms"], 3),
            "latency_iqr_ms": round(costs["latency_iqr_ms"], 3),
            "scores": rounded(results.student["scores"]),
            "architecture": results.architecture.params,
            "trial": results.winner,
        },
        "speedup": round(costs["speedup"], 3),
        "speedup_wanted": results.speedup_wanted,
        "search": search_summary(settings, table, control, results.space_size),
        "controls": [
            {
                "name": control.name,
                "architecture": control.architecture.params,
                "params": measured["costs"]["params"],
                "speedup": round(measured["costs"]["speedup"], 3),
                "scores": rounded(measured["scores"]),
            }
            for control, measured in results.controls
        ],
        "latency": results.grid,
        "recipe": recipe_of(settings),
        "seconds": seconds,
        "environment": {
            **results.environment,
            "latency_batch": settings.latency_batch,
            "latency_length": settings.latency_length,
            "latency_runtime": runtime_name(settings.latency_runtime),
            "latency_measured": how_measured(settings.latency_quiet),
        },
    }


def recipe_of(settings: Settings) -> list[dict[str, Any]]:
    """The stages of full KD as plain values, without what is as usual."""
    return [stage.model_dump(mode="json", exclude_defaults=True) for stage in settings.recipe]


def timed_on(environment: dict[str, Any]) -> str:
    """Device and runtime of a report's latencies: `cuda`, or `cpu in onnxruntime 1.20.0`."""
    runtime = str(environment.get("latency_runtime", "torch"))
    return str(environment["device"]) if runtime.startswith("torch") else f"cpu in {runtime}"


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Scores with five decimals."""
    return {name: round(value, 5) for name, value in scores.items()}
