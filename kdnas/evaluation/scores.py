"""A model's official scores on a task, wherever the model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from kdnas.tasks.metrics import compute_metrics
from kdnas.tasks.spec import TaskSpec

Splits = Mapping[str, EncodedExamples]


def evaluate_model(
    model: PreTrainedModel, splits: Splits, spec: TaskSpec, runtime: Runtime, pad_id: int
) -> dict[str, float]:
    """Every metric of a task on every split that it is scored on.

    Args:
        model: Its outputs are in the order of the task's labels.
        splits: Labelled examples by split.
        spec: The task.
        runtime: Device and precision.
        pad_id: Token that fills short rows.
    """
    return _scores(splits, spec, lambda data: predict(model, data, runtime, pad_id=pad_id).numpy())


def evaluate_session(
    session: Session, splits: Splits, spec: TaskSpec, pad_id: int
) -> dict[str, float]:
    """The same scores of an ONNX file, on the same batches."""
    cpu = torch.device("cpu")

    def predicted(data: EncodedExamples) -> NDArray[np.float32]:
        logits = np.empty((int(data.unit_offsets[-1]), spec.num_labels), np.float32)
        with computing(cpu) as let_pass:
            for batch in batches_once(data, pad_id, cpu):
                let_pass()
                inputs = {name: value.numpy() for name, value in batch.inputs.items()}
                found = {k: torch.from_numpy(v) for k, v in session.run(inputs).items()}
                picked = batch.task.pick_logits(SimpleNamespace(**found), batch.units)
                logits[ragged_rows(data.unit_offsets, batch.indices)] = picked.numpy()
        return logits

    return _scores(splits, spec, predicted)


def _scores(
    splits: Splits, spec: TaskSpec, predicted: Callable[[EncodedExamples], NDArray[Any]]
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for split, data in splits.items():
        assert data.labels is not None
        scores.update(compute_metrics(spec, predicted(data), data.labels, split))
    return scores
