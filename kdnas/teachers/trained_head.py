"""Whether a checkpoint has a head for a task, and which of its outputs is which label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.tasks import TaskSpec, TaskType


def has_head(config: Any, spec: TaskSpec) -> bool:
    """Whether a checkpoint has a head for the task, judged by its config."""
    task = spec.task_type
    trained = has_class(config, task)
    fits = not task.has_outputs or config.num_labels == spec.num_labels
    return trained and same_problem(config, task) and fits


def same_problem(config: Any, task: TaskType) -> bool:
    """Whether what a config says of its labels is true of a type of tasks.

    Of heads that transformers tells apart by their class it says nothing, or what was true of
    the classifier that they were trained from.
    """
    problem = getattr(config, "problem_type", None)
    unnamed = problem is None and task.unnamed_problem
    return task.problem_type is None or problem == task.problem_type or unnamed


def head_of_another_task(config: Any, spec: TaskSpec) -> str | None:
    """The names of a head's outputs where they show that it was trained for another task.

    `LABEL_0`, numbers and the like show nothing.
    """
    theirs = [str(name) for _, name in sorted((config.id2label or {}).items())]
    ours = [str(label) for label in spec.labels or ()]
    named = all(
        any(re.fullmatch(r"(label|class)?[\W_]*\d+(\.0)?", name.lower()) is None for name in names)
        for names in (theirs, ours)
    )
    same = {_plain(name) for name in theirs} == {_plain(name) for name in ours}
    return ", ".join(theirs) if named and not same else None


def has_class(config: Any, task: TaskType) -> bool:
    """Whether a checkpoint was saved with a head for a type of tasks."""
    return any(task.is_head(name) for name in config.architectures or ())


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def output_names(config: Any) -> list[str]:
    """The names of a head's outputs, in their order; the number of one that has none."""
    return [str(config.id2label.get(i, i)) for i in range(config.num_labels)]


def mapped_outputs(
    name: str, config: Any, label_map: Sequence[str], spec: TaskSpec | None = None
) -> list[int]:
    """The numbers of the outputs that a label map lists.

    Raises:
        KdnasError: It is no order of the head's outputs, or the task has not as many labels.
    """
    names = output_names(config)
    words = [str(word).strip() for word in label_map]
    if spec and spec.num_labels != len(names):
        raise KdnasError(
            f"invalid --label-map {','.join(words)}: the head of {name!r} has "
            f"{several(len(names), 'output')} ({', '.join(names)}), and task {spec.name!r} is for "
            f"one with {spec.num_labels}; leave --label-map out, and a new head is trained"
        )
    order = [names.index(w) if w in names else int(w) if w.isdecimal() else -1 for w in words]
    if sorted(order) != list(range(len(names))):
        raise KdnasError(
            f"invalid --label-map {','.join(words)}: expected the outputs of {name!r}, each once, "
            f"in the order of the task's labels: {', '.join(names)}"
        )
    return order


def order_by_names(config: Any, spec: TaskSpec) -> list[int]:
    """The head's outputs in the order of the task's labels, where their names are those labels."""
    for spelled in (str.lower, _plain):  # the latter may not tell -1 from 1
        theirs = {spelled(str(name)): int(i) for i, name in (config.id2label or {}).items()}
        ours = [spelled(str(label)) for label in spec.labels or ()]
        if set(theirs) == set(ours) and len(theirs) == len(ours):
            return [theirs[label] for label in ours]
    return []
