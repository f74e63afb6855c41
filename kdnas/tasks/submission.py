"""Predictions for an unlabelled test split, in the form that GLUE's server takes.

One tab-separated file for each split: columns `index`, the row's place from 0 on, and `prediction`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.files.atomic import write_text
from kdnas.tasks.examples import Examples
from kdnas.tasks.spec import TaskSpec


def check_complete(spec: TaskSpec, split: str, examples: Examples) -> None:
    """Refuses a test split with rows that could not be read.

    Raises:
        KdnasError: Rows are missing, so that the others would stand at wrong places.
    """
    if examples.dropped:
        raise KdnasError(
            f"task {spec.name!r}: {examples.dropped} row(s) of its {split} split are malformed or "
            "lack a label that others have; a predictions file needs every row"
        )


def write_predictions(folder: Path, spec: TaskSpec, split: str, logits: NDArray[Any]) -> Path:
    """Writes a model's predictions for a test split.

    Args:
        folder: Where the file goes.
        spec: The task; it has the file's name and the form of predictions.
        split: The test split.
        logits: (units, num_labels), in the order of the split's rows.

    Returns:
        The file.
    """
    form, path = spec.submission, folder / spec.predictions_file(split)
    words = spec.task_type.submission(logits, spec.labels or (), form.ids, form.bounds)
    lines = ["index\tprediction", *(f"{i}\t{word}" for i, word in enumerate(words))]
    write_text(path, "\n".join(lines) + "\n")
    return path
