"""A model's official scores on a task, wherever the model runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.distillation.batches import batches_once
from kdnas.distillation.training import predict
from kdnas.measure.onnx import Session
from kdnas.measure.quiet import computing
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples, ragged_rows
from kdnas.tasks.metrics import answers, compute_metrics, score_intervals, skill_interval
from kdnas.tasks.spec import TaskSpec
from kdnas.tasks.types import UNSCALED, LabelScale


def evaluate_model(
    model: PreTrainedModel | Session,
    splits: Mapping[str, EncodedExamples],
    spec: TaskSpec,
    runtime: Runtime,
    pad_id: int,
    scale: LabelScale = UNSCALED,
) -> dict[str, float]:
    """Every metric of a task on every split that it is scored on.

    Args:
        model: In PyTorch, or an ONNX file; its outputs are in the order of the task's labels.
        splits: Labelled examples by split.
        spec: The task.
        runtime: Device and precision of a model in PyTorch.
        pad_id: Token that fills short rows.
        scale: Restores the labels' unit from the model's outputs.
    """
    scores: dict[str, float] = {}
    for split, data in splits.items():
        assert data.labels is not None
        if isinstance(model, Session):
            logits = _predict_onnx(model, data, spec.num_labels, pad_id)
        else:
            logits = predict(model, data, runtime, pad_id=pad_id).numpy()
        scores |= compute_metrics(spec, scale.restored(logits), data.labels, split)
    return scores


def scores_and_intervals(
    model: PreTrainedModel,
    splits: Mapping[str, EncodedExamples],
    spec: TaskSpec,
    runtime: Runtime,
    pad_id: int,
    scale: LabelScale = UNSCALED,
) -> dict[str, Any]:
    """The `scores` of `evaluate_model`, their 95% `intervals`, and what else the logits tell.

    Returns:
        Also the interval of the `skill` on the first split, None for task types that have none;
        and by split the `rows`: predictions and labels, which paired tests compare.
    """
    found: dict[str, Any] = {"scores": {}, "intervals": {}, "skill": None, "rows": {}}
    for split, data in splits.items():
        assert data.labels is not None
        logits = scale.restored(predict(model, data, runtime, pad_id=pad_id).numpy())
        found["skill"] = found["skill"] or skill_interval(spec, logits, data.labels)
        for name, part in scored_logits(spec, logits, data.labels, split).items():
            found[name] |= part
    return found


def scored_logits(
    spec: TaskSpec, logits: NDArray[Any], labels: NDArray[Any], split: str
) -> dict[str, dict[str, Any]]:
    """The `scores`, `intervals` and `rows` of one split."""
    return {
        "scores": compute_metrics(spec, logits, labels, split),
        "intervals": score_intervals(spec, logits, labels, split),
        "rows": {split: answers(spec, logits, labels)},
    }


def baseline(
    spec: TaskSpec, labels: NDArray[Any], splits: Mapping[str, EncodedExamples]
) -> dict[str, Any] | None:
    """The scores of one constant answer: the majority class, or the mean, of the given labels.

    Returns:
        Its `name`, and its `scores` and `rows` as `scores_and_intervals` gives them; None for
        task types that have none.
    """
    kind, names = spec.task_type, spec.labels or ()
    constant = kind.constant(labels, spec.num_labels)
    if constant is None:
        return None
    answer = kind.answers(constant[None], names)[0]
    scores: dict[str, float] = {}
    rows: dict[str, Any] = {}
    for split, data in splits.items():
        assert data.labels is not None
        logits = np.broadcast_to(constant, (len(data.labels), len(constant)))
        scores |= compute_metrics(spec, logits, data.labels, split)
        rows[split] = answers(spec, logits, data.labels)
    told = answer.get("label", format(answer["score"], ".4g"))
    return {"name": f"always {told}", "scores": scores, "rows": rows}


def _predict_onnx(
    session: Session, data: EncodedExamples, outputs: int, pad_id: int
) -> NDArray[np.float32]:
    """The logits of `predict`, on the same batches."""
    cpu = torch.device("cpu")
    logits = np.empty((int(data.unit_offsets[-1]), outputs), np.float32)
    with computing(cpu) as let_pass:
        for batch in batches_once(data, pad_id, cpu):
            let_pass()
            inputs = {name: value.numpy() for name, value in batch.inputs.items()}
            found = {k: torch.from_numpy(v) for k, v in session.run(inputs).items()}
            picked = batch.task.pick_logits(SimpleNamespace(**found), batch.units)
            logits[ragged_rows(data.unit_offsets, batch.indices)] = picked.numpy()
    return logits
