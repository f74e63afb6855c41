"""Weights of classes in the loss on labels, for tasks with rare ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdnas.config.choices import ClassWeights
from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.spec import TaskSpec


def with_class_weights(
    train: EncodedExamples, spec: TaskSpec, asked: ClassWeights
) -> EncodedExamples:
    """Training rows with the weights of their classes, where they are asked for.

    Raises:
        KdnasError: The task's type has no classes to weigh.
    """
    check_class_weights(spec, asked)
    if asked == "none" or train.labels is None:
        return train
    weights = spec.task_type.balanced_weights(train.labels, spec.num_labels)
    return replace(train, class_weights=weights)


def check_class_weights(spec: TaskSpec, asked: ClassWeights) -> None:
    """Raises KdnasError where weights are asked for and the task's type has no classes to weigh."""
    kind = spec.task_type
    if asked != "none" and kind.balanced_weights(np.zeros(0, kind.label_dtype), 2) is None:
        raise KdnasError(
            f"invalid --class-weights {asked}: task {spec.name!r} is of type {kind.name}, whose "
            "loss weighs no classes; leave it out"
        )
