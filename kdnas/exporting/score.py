"""Scores of a run's task, wherever the model runs."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.distillation.batches import batches_once
from kdnas.evaluation.scores import evaluate_model
from kdnas.measure.onnx import Session
from kdnas.measure.quiet import computing
from kdnas.recipes.run_data import encode_evaluation, input_length
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, TaskSpec, load_data, load_spec
from kdnas.tasks.encode import padding_id, ragged_rows
from kdnas.tasks.metrics import compute_metrics


@dataclass(frozen=True)
class Exam:
    """What a run's students are scored on.

    Attributes:
        spec: The task, its labels known.
        splits: Labelled examples by split.
        pad_id: Token that fills short rows.
    """

    spec: TaskSpec
    splits: dict[str, EncodedExamples]
    pad_id: int

    @classmethod
    def load(cls, settings: Settings, tokenizer: Any, config: Any) -> Exam:
        """Reads and encodes the evaluation splits of a run's task.

        Raises:
            KdnasError: They cannot be read.
        """
        spec = load_spec(settings.task or "rotten-tomatoes", settings.tasks)
        task = load_data(spec, settings.data_dir, splits=spec.evaluation, optional=())
        length = input_length(settings, tokenizer, config)
        splits = encode_evaluation(task, tokenizer, length)
        return cls(task.spec, splits, padding_id(config, tokenizer))

    def of_model(self, model: PreTrainedModel, runtime: Runtime) -> dict[str, float]:
        """A PyTorch model's scores."""
        return evaluate_model(model, self.splits, self.spec, runtime, self.pad_id)

    def of_session(self, session: Session) -> dict[str, float]:
        """An ONNX file's scores, on the same batches."""
        scores: dict[str, float] = {}
        for split, data in self.splits.items():
            assert data.labels is not None
            logits = self._predict(session, data)
            scores.update(compute_metrics(self.spec, logits, data.labels, split))
        return scores

    def _predict(self, session: Session, data: EncodedExamples) -> NDArray[np.float32]:
        cpu = torch.device("cpu")
        logits = np.empty((int(data.unit_offsets[-1]), self.spec.num_labels), np.float32)
        with computing(cpu) as let_pass:
            for batch in batches_once(data, self.pad_id, cpu):
                let_pass()
                inputs = {name: value.numpy() for name, value in batch.inputs.items()}
                found = {k: torch.from_numpy(v) for k, v in session.run(inputs).items()}
                picked = batch.task.pick_logits(SimpleNamespace(**found), batch.units)
                logits[ragged_rows(data.unit_offsets, batch.indices)] = picked.numpy()
        return logits
