"""The kinds of tasks, by name. Another package adds one: `TASK_TYPES["mine"] = MyTaskType()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kdnas.runtime.console import say
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import DEFAULT_TYPE, Examples
from kdnas.tasks.types.base import TaskType
from kdnas.tasks.types.classification import Classification
from kdnas.tasks.types.metric import Metric
from kdnas.tasks.types.multi_label import MultiLabel
from kdnas.tasks.types.question_answering import QuestionAnswering
from kdnas.tasks.types.regression import Regression
from kdnas.tasks.types.sequence_to_sequence import SequenceToSequence
from kdnas.tasks.types.token_classification import TokenClassification
from kdnas.tasks.types.values import THRESHOLD, UNSCALED, LabelScale, Submission, threshold_of

TASK_TYPES: dict[str, TaskType] = {
    one.name: one
    for one in (
        Classification(),
        Regression(),
        MultiLabel(),
        TokenClassification(),
        QuestionAnswering(),
        SequenceToSequence(),
    )
}

__all__ = [
    "DEFAULT_TYPE",
    "TASK_TYPES",
    "THRESHOLD",
    "UNSCALED",
    "LabelScale",
    "Metric",
    "Submission",
    "TaskType",
    "encode",
    "task_type_of",
    "threshold_of",
]


def encode(
    examples: Examples,
    tokenizer: Any,
    max_length: int,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> EncodedExamples:
    """Tokenises a split as its task's type does, at most max_length tokens an example.

    Args:
        name: Such as that of the split; it says how many examples were cut, and the like.
        options: Values of the settings that are the type's `encode_settings`.
    """
    kind = TASK_TYPES[examples.task_type]
    data = kind.encode(examples, tokenizer, max_length, **(options or {}))
    if examples.predictions is not None:
        logits = kind.unit_logits(examples.predictions, data, examples.classes)
        data = replace(data, teacher_logits=logits)
    for line in kind.encoding_notes(examples, data, tokenizer, max_length) if name else ():
        say(f"{name}: {line}")
    return data


def task_type_of(config: Any, model_class: str | None = None) -> TaskType:
    """The kind of task that a model's head is for.

    Models that kdnas trained say it in their config; of others the name of the class (default: the
    first of the config's `architectures`) and the config's problem_type decide.
    """
    if getattr(config, "kdnas_task_type", None) in TASK_TYPES:
        return TASK_TYPES[config.kdnas_task_type]
    named = model_class or next(iter(config.architectures or ()), "")
    fitting = [one for one in TASK_TYPES.values() if one.is_head(named)]
    problem = getattr(config, "problem_type", None)
    alike = [one for one in fitting if one.problem_type == problem]
    if problem is None and config.num_labels == 1:  # as transformers understands one output
        alike = [one for one in fitting if not one.has_classes]
    return next(iter((*alike, *fitting)), TASK_TYPES[DEFAULT_TYPE])
