"""The model card's metadata, as the hub reads them.

The schema: https://huggingface.co/docs/hub/model-cards, model-index and all.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from kdnas.report.origin import origin_of
from kdnas.tasks import TASK_TYPES

TAGS = ["kdnas", "knowledge-distillation", "neural-architecture-search"]


def card_data(report: dict[str, Any], name: str) -> ModelCardData:
    """The metadata from the content of report.json; what is not known is left out."""
    origin, search = origin_of(report["teacher"]["name"]), report["search"]
    on_hub = report.get("dataset_config") or "/" in report["dataset"]
    return ModelCardData(
        model_name=name,
        eval_results=_results(report),
        library_name="transformers",
        pipeline_tag=TASK_TYPES[report["task_type"]].pipeline_tag,
        base_model=origin.base_model,
        license=origin.licence,
        language=origin.language,
        datasets=[report["dataset"]] if on_hub else None,
        metrics=sorted({result.metric_type for result in _results(report)}),
        tags=TAGS,
        kdnas={
            "version": report.get("kdnas"),
            "architecture": report["student"]["name"],
            "speedup": report["speedup"],
            "sampler": search["sampler"],
            "trials": search["seen"],
            "space": search["space"],
            "seed": search["seed"],
        },
    )


def _results(report: dict[str, Any]) -> list[EvalResult]:
    results, task = [], TASK_TYPES[report["task_type"]]
    for key, value in report["student"]["scores"].items():
        name, split = _metric_and_split(key, report["evaluation"], task.metrics)
        metric = task.metrics[name]
        results.append(
            EvalResult(
                task_type=task.pipeline_tag,
                task_name=task.hub_name,
                dataset_type=report["dataset"],
                dataset_name=report.get("dataset_name", report["task"]),
                dataset_config=report.get("dataset_config"),
                dataset_split=split,
                metric_type=metric.hub_type,
                metric_name=metric.hub_name,
                metric_value=value,
            )
        )
    return results


def _metric_and_split(key: str, splits: list[str], metrics: Container[str]) -> tuple[str, str]:
    """`accuracy_matched` is accuracy on validation_matched; alone, a split is not in the key."""
    for split in splits:
        suffix = f"_{split.partition('_')[2]}"
        if len(splits) > 1 and key.removesuffix(suffix) in metrics and key not in metrics:
            return key.removesuffix(suffix), split
    return key, splits[0]
