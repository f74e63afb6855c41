"""A model's official scores on a task."""

from __future__ import annotations

from transformers import PreTrainedModel

from kdnas.distillation.training import predict
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.metrics import compute_metrics
from kdnas.tasks.spec import TaskSpec


def evaluate_model(
    model: PreTrainedModel,
    splits: dict[str, EncodedExamples],
    spec: TaskSpec,
    runtime: Runtime,
    pad_id: int,
) -> dict[str, float]:
    """Every metric of a task on every split that it is scored on.

    Args:
        model: Its outputs are in the order of the task's labels.
        splits: Labelled examples by split.
        spec: The task.
        runtime: Device and precision.
        pad_id: Token that fills short rows.
    """
    scores: dict[str, float] = {}
    for split, data in splits.items():
        logits = predict(model, data, runtime, pad_id=pad_id).numpy()
        assert data.labels is not None
        scores.update(compute_metrics(spec, logits, data.labels, split))
    return scores
