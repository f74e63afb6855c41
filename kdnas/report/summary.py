"""report.json: the run in numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdnas.config import Settings
from kdnas.report.results import Results
from kdnas.report.table import finished


def summary(
    settings: Settings, table: pd.DataFrame, results: Results, seconds: dict[str, float]
) -> dict[str, Any]:
    """The content of report.json.

    Args:
        settings: Of the run.
        table: The trial table.
        results: Scores and costs.
        seconds: Wall time by step.
    """
    costs = results.student["costs"]
    return {
        "task": results.spec.name,
        "dataset": results.spec.hub.path if results.spec.hub else results.spec.name,
        "evaluation": list(results.spec.evaluation),
        "main_score": results.main_score,
        "teacher": {
            "name": results.teacher_name,
            "params": results.teacher_params,
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
        "search": search_summary(settings, table, results.space_size),
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
        "recipe": [
            stage.model_dump(mode="json", exclude_defaults=True) for stage in settings.recipe
        ],
        "seconds": seconds,
        "environment": {
            **results.environment,
            "latency_batch": settings.latency_batch,
            "latency_length": settings.latency_length,
        },
    }


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Scores with five decimals."""
    return {name: round(value, 5) for name, value in scores.items()}


def search_summary(settings: Settings, table: pd.DataFrame, space_size: int) -> dict[str, Any]:
    """How the search went; its seconds are those that trials took, over all processes."""
    complete = table[table.state == "COMPLETE"]
    each = finished(table).seconds.astype(float)
    return {
        "sampler": settings.sampler,
        "objective": settings.objective,
        "trials": len(complete),
        "distinct": len(finished(table)),
        "space": space_size,
        "seconds": round(float(table.seconds.fillna(0).sum()), 1),
        "seconds_per_trial": {
            "median": round(float(each.median()), 2),
            "least": round(float(each.min()), 2),
            "most": round(float(each.max()), 2),
        },
        "speedup_wanted": settings.speedup,
        "alpha": settings.alpha,
        "beta": settings.beta,
        "cost": settings.cost,
        "seed": settings.seed,
    }
