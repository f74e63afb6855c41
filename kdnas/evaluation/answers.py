"""How a model's outputs become answers, chosen on training rows that it was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel

from kdnas.distillation.training import predict
from kdnas.files.atomic import read_json
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, EncodedExamples
from kdnas.tasks.types import THRESHOLD, UNSCALED, LabelScale
from kdnas.teachers.head import shift_outputs, to_label_units

STEP = "teacher threshold"  # of a run
OUTPUTS_STEP = "teacher outputs"  # of a run: order and unit of a head that was trained elsewhere
# Training rows that show how the outputs of a given head belong to the labels.
ROWS = 2000


def threshold_of_teacher(run: Run) -> float | None:
    """What a run chose for its teacher, which another one may not have in its config."""
    found = read_json(run.step(STEP, {}).path)
    return float(found) if isinstance(found, int | float) else None


def restore_threshold(run: Run, config: PreTrainedConfig) -> None:
    """Gives the config of a run's teacher what the run chose for it, be it none."""
    if run.step(STEP, {}).path.exists():
        setattr(config, THRESHOLD, threshold_of_teacher(run))


def restore_unit(run: Run, model: PreTrainedModel) -> None:
    """Takes the unit of the labels into the head that a run was given, in place, as the run did."""
    found = read_json(run.step(OUTPUTS_STEP, {}).path) or {}
    to_label_units(model, LabelScale(*found.get("unit", UNSCALED)))


def telling_rows(count: int, seed: int) -> NDArray[np.int64]:
    """Which of so many training rows show how a given head's outputs belong to the labels."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:ROWS])


def take_unit(model: PreTrainedModel, unit: LabelScale, outputs: str) -> None:
    """Takes the unit of the labels into a head from elsewhere, in place, and says so.

    Args:
        model: With the head.
        unit: As `unit_of` finds it on training rows.
        outputs: What they are called.
    """
    if unit == UNSCALED:
        return
    say(
        f"{outputs} are in another unit than the labels: on training rows a label is "
        f"{unit.spread:g} times its output, {unit.mean:+g}; taken into its head"
    )
    to_label_units(model, unit)


def keep_threshold(
    model: PreTrainedModel,
    rows: EncodedExamples,
    runtime: Runtime,
    pad_id: int,
    learnt: EncodedExamples | None = None,
) -> float | None:
    """Chooses a model's threshold on labelled rows, and keeps it in the model's config.

    Returns:
        The threshold; None for types of tasks that have none, and where answers need none.
    """
    if not TASK_TYPES[rows.task_type].has_threshold:
        return None
    known = rows.labels is not None
    logits = predict(model, rows, runtime, pad_id=pad_id).numpy() if known else None
    chosen = threshold_for(logits, rows, learnt)
    setattr(model.config, THRESHOLD, chosen)
    return chosen


def settle_answers(
    model: PreTrainedModel,
    rows: EncodedExamples,
    runtime: Runtime,
    pad_id: int,
    learnt: EncodedExamples | None = None,
) -> None:
    """Chooses a trained student's threshold, or the bias of its head, where its type has one.

    Args:
        model: Its outputs are in the order of the task's labels.
        rows: Training rows that were held out.
        runtime: Device and precision.
        pad_id: Token that fills short rows.
        learnt: The others, where there are some; in any vocabulary.
    """
    keep_threshold(model, rows, runtime, pad_id, learnt)
    kind = TASK_TYPES[rows.task_type]
    if not kind.has_bias or rows.labels is None:
        return
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    chosen = kind.choose_bias(predict(model, rows, runtime, pad_id=pad_id).numpy(), rows, names)
    if chosen is None or not chosen.any():
        return
    shift_outputs(model, chosen)
    moved = (f"{name} {by:+.3g}" for name, by in zip(names, chosen, strict=True) if by)
    say(f"the bias of the head, by training rows held out: {', '.join(moved)}")


def threshold_for(
    logits: NDArray[np.float32] | None,
    rows: EncodedExamples,
    learnt: EncodedExamples | None = None,
) -> float | None:
    """The threshold that the logits of labelled rows choose, as a config has it; None: no one.

    Where they choose none, or are not known, it is the usual one of models that learnt from the
    rows `learnt` (default: from these).
    """
    kind = TASK_TYPES[rows.task_type]
    chosen = None if logits is None else kind.choose_threshold(logits, rows)
    if chosen is None:
        chosen = kind.usual_threshold(rows if learnt is None else learnt)
    return None if chosen is None else float(f"{chosen:.5g}")  # people read it
