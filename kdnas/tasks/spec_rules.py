"""What the parts of a task must be to fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from kdnas.config import nearest

if TYPE_CHECKING:
    from kdnas.tasks.spec import TaskSpec

CLASS_METRICS = ("accuracy", "f1", "f1_macro", "mcc")
REGRESSION_METRICS = ("pearson", "spearman")


def contradictions(spec: TaskSpec) -> list[str]:
    """What in the task cannot be, in words; empty for a sound one."""
    return [*_of_labels(spec), *_of_metrics(spec), *_of_places(spec)]


def _of_labels(spec: TaskSpec) -> Iterator[str]:
    if spec.labels is None:
        return
    if spec.regression:
        yield "regression has no labels; leave one of the two out"
    if len({label.casefold() for label in spec.labels}) < max(len(spec.labels), 2):
        yield "labels should be two or more, all different (letter case aside)"


def _of_metrics(spec: TaskSpec) -> Iterator[str]:
    fitting = REGRESSION_METRICS if spec.regression else CLASS_METRICS
    for metric in spec.metrics:
        if metric not in fitting:
            yield f"metric {metric!r} does not fit{nearest(metric, fitting)}"
    if "f1" in spec.metrics and spec.labels is not None and len(spec.labels) != 2:
        yield f"metric 'f1' is for two classes, not {len(spec.labels)}; use f1_macro"


def _of_places(spec: TaskSpec) -> Iterator[str]:
    several = len(spec.evaluation) > 1
    for split in spec.evaluation:
        if not (split.startswith("validation_") if several else split == "validation"):
            yield f"evaluation {split!r} should be validation, or several validation_SOMETHING"
    named = [(split, file) for split, files in spec.files.items() for file in files]
    for split, file in (*named, *spec.submission.files.items()):
        if split not in spec.splits:
            yield f"files: unknown split {split!r}{nearest(split, spec.splits)}"
        if PurePath(file).name != file:
            yield f"files: {file!r} should be the name of a file, without a folder"
    for column in spec.text if spec.headerless else ():
        if not set(column.headers) & set(spec.headerless):
            yield f"headerless lacks the text column {column.name!r}"
