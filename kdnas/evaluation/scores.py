"""A model's official scores on a task, wherever the model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.batches import batches_once
from kdnas.distillation.generation import in_order, written_by
from kdnas.distillation.training import predict
from kdnas.measure.onnx import InOnnx
from kdnas.measure.onnx_sessions import Session, Writer
from kdnas.measure.quiet import computing
from kdnas.runtime.device import Runtime
from kdnas.runtime.working_time import working_seconds
from kdnas.tasks.comparison import Scored
from kdnas.tasks.encode import EncodedExamples, ragged_rows
from kdnas.tasks.metrics import (
    Answers,
    answers_of,
    known_rows,
    metrics_of,
    score_intervals,
    skill_interval,
)
from kdnas.tasks.spec import TaskSpec
from kdnas.tasks.types import UNSCALED, LabelScale, threshold_of


def evaluate_model(
    model: PreTrainedModel | InOnnx,
    splits: Mapping[str, EncodedExamples],
    spec: TaskSpec,
    runtime: Runtime,
    pad_id: int,
    scale: LabelScale = UNSCALED,
    threshold: float | None = None,
) -> dict[str, float]:
    """Every metric of a task on every split that it is scored on.

    Args:
        model: In PyTorch, or an ONNX file; its outputs are in the order of the task's labels.
        splits: Labelled examples by split.
        spec: The task.
        runtime: Device and precision of a model in PyTorch.
        pad_id: Token that fills short rows.
        scale: Restores the labels' unit from the model's outputs.
        threshold: That of an ONNX file; one in PyTorch has its own in its config.
    """
    scores: dict[str, float] = {}
    for split, data in splits.items():
        logits: NDArray[Any]
        if isinstance(model, Session):
            logits = _predict_onnx(model, data, spec.num_labels, pad_id)
        elif isinstance(model, Writer):
            logits = write_in_onnx(model, data, pad_id)
        else:
            logits = predict(model, data, runtime, pad_id=pad_id).numpy()
            threshold = threshold_of(model.config)
        scores |= metrics_of(spec, answers_of(spec, scale.restored(logits), data, threshold), split)
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
        Also the interval of the `skill` on the first split, None for task types that have none; by
        split the `rows`: predictions and labels, which paired tests compare; and
        `seconds_per_1000`: what 1,000 rows take, from token ids to answers, without the time that
        others measured latency in.
    """
    start, rows = working_seconds(), sum(data.row_count for data in splits.values())
    answers = _answers(model, splits, spec, runtime, pad_id, scale)
    pace = float(f"{1000 * (working_seconds() - start) / max(1, rows):.4g}")
    return {**_scores_of(spec, answers), "seconds_per_1000": pace}


def rows_of_model(
    model: PreTrainedModel,
    splits: Mapping[str, EncodedExamples],
    spec: TaskSpec,
    runtime: Runtime,
    pad_id: int,
    scale: LabelScale = UNSCALED,
) -> dict[str, Any]:
    """By split the `rows` of `scores_and_intervals`: what a model says, whatever the metrics."""
    answers = _answers(model, splits, spec, runtime, pad_id, scale)
    return {split: _plain(said) for split, said in answers.items()}


def scores_of_rows(spec: TaskSpec, rows: Scored) -> dict[str, float]:
    """Every metric of a task on `rows` of some splits, read from JSON or not."""
    scores: dict[str, float] = {}
    as_rows = spec.task_type.as_rows
    for split, part in rows.items():
        said = Answers(as_rows(part["predicted"]), as_rows(part["truth"]))
        scores |= metrics_of(spec, said, split)
    return scores


def scores_of_logits(
    spec: TaskSpec,
    splits: Mapping[str, EncodedExamples],
    logits: Mapping[str, NDArray[np.float32]],
    threshold: float | None = None,
) -> dict[str, Any]:
    """What `scores_and_intervals` finds, but for the seconds, of logits that are known already.

    `logits`, by split, are in the labels' unit; splits without any are left out.
    """
    return _scores_of(
        spec,
        {
            split: answers_of(spec, logits[split], data, threshold)
            for split, data in splits.items()
            if split in logits
        },
    )


def _answers(
    model: PreTrainedModel,
    splits: Mapping[str, EncodedExamples],
    spec: TaskSpec,
    runtime: Runtime,
    pad_id: int,
    scale: LabelScale,
) -> dict[str, Answers]:
    """What a model says of the labelled rows of each split."""
    threshold = threshold_of(model.config)
    return {
        split: answers_of(
            spec,
            scale.restored(predict(model, data, runtime, pad_id=pad_id).numpy()),
            data,
            threshold,
        )
        for split, data in splits.items()
    }


def _scores_of(spec: TaskSpec, answers: Mapping[str, Answers]) -> dict[str, Any]:
    found: dict[str, Any] = {"scores": {}, "intervals": {}, "skill": None, "rows": {}}
    for split, said in answers.items():
        found["skill"] = found["skill"] or skill_interval(spec, said)
        for name, part in scored_answers(spec, said, split).items():
            found[name] |= part
    return found


def scored_answers(spec: TaskSpec, said: Answers, split: str) -> dict[str, dict[str, Any]]:
    """The `scores`, `intervals` and `rows` of one split."""
    return {
        "scores": metrics_of(spec, said, split),
        "intervals": score_intervals(spec, said, split),
        "rows": {split: _plain(said)},
    }


def baseline(
    spec: TaskSpec, train: Sequence[EncodedExamples], splits: Mapping[str, EncodedExamples]
) -> dict[str, Any] | None:
    """The scores of one constant answer, the best for the task's first metric on `train` rows.

    Returns:
        Its `name`, and its `scores` and `rows` as `scores_and_intervals` gives them; None for
        task types that have none.
    """
    kind = spec.task_type
    truths = np.concatenate([kind.truths(data) for data in train])
    constants = kind.constant_answers(truths[kind.known(truths)], spec.labels or ())
    if not constants:
        return None
    constant = constants[0]
    if len(constants) > 1:
        metric = spec.metric(spec.metrics[0])
        said = [np.concatenate([one.predict(data) for data in train]) for one in constants]
        told = [metric(*known_rows(spec, one, truths)) for one in said]
        constant = constants[int(np.argmax(told))]
    scores: dict[str, float] = {}
    rows: dict[str, Any] = {}
    for split, data in splits.items():
        answers = known_rows(spec, constant.predict(data), kind.truths(data))
        scores |= metrics_of(spec, answers, split)
        rows[split] = _plain(answers)
    return {"name": f"always {constant.name}", "scores": scores, "rows": rows}


def _plain(said: Answers) -> dict[str, list[Any]]:
    """`predicted` and `truth` as JSON has them."""
    return {"predicted": said.predicted.tolist(), "truth": said.truth.tolist()}


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


def write_in_onnx(writer: Writer, data: EncodedExamples, pad_id: int) -> NDArray[np.int64]:
    """The token ids of `predict`, shape (examples, tokens), written greedily, on its batches."""

    def write(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(writer.generate({k: v.numpy() for k, v in inputs.items()}))

    batches = written_by(write, data, torch.device("cpu"), pad_id=pad_id)
    found: NDArray[np.int64] = in_order(batches, len(data), pad_id).numpy()
    return found
