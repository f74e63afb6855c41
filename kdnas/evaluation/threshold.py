"""The threshold of a model's answers, chosen on training rows that it was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.distillation.training import predict
from kdnas.files.atomic import read_json
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, EncodedExamples
from kdnas.tasks.types import THRESHOLD

STEP = "teacher threshold"  # of a run


def threshold_of_teacher(run: Run) -> float | None:
    """What a run chose for its teacher, which another one may not have in its config."""
    found = read_json(run.step(STEP, {}).path)
    return float(found) if isinstance(found, int | float) else None


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
    chosen = threshold_for(predict(model, rows, runtime, pad_id=pad_id).numpy(), rows)
    if chosen is not None:
        setattr(model.config, THRESHOLD, chosen)
    return chosen


def threshold_for(logits: NDArray[np.float32], rows: EncodedExamples) -> float | None:
    """The threshold that the logits of labelled rows choose, as a config has it; None: no one."""
    chosen = TASK_TYPES[rows.task_type].choose_threshold(logits, rows)
    return None if chosen is None else float(f"{chosen:.5g}")  # people read it
