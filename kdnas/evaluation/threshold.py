"""The threshold of a model's answers, chosen on training rows that it was not trained on."""

from __future__ import annotations

from transformers import PreTrainedModel

from kdnas.distillation.training import predict
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, EncodedExamples
from kdnas.tasks.types import THRESHOLD


def keep_threshold(
    model: PreTrainedModel, rows: EncodedExamples, runtime: Runtime, pad_id: int
) -> float | None:
    """Chooses a model's threshold on labelled rows, and keeps it in the model's config.

    Returns:
        The threshold; None, with nothing kept, for types of tasks that have none.
    """
    kind = TASK_TYPES[rows.task_type]
    if not kind.has_threshold or rows.labels is None:
        return None
    logits = predict(model, rows, runtime, pad_id=pad_id).numpy()
    chosen = kind.choose_threshold(logits, rows)
    if chosen is None:
        return None
    rounded = float(f"{chosen:.5g}")  # a config that people read
    setattr(model.config, THRESHOLD, rounded)
    return rounded
