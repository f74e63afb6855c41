"""Predictions for an unlabelled test split, in the form that GLUE's server takes.

One tab-separated file a split: columns `index`, the row's place from 0 on, and `prediction`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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
    """Writes what a model says of a test split.

    Args:
        folder: Where the file goes.
        spec: The task; it knows the file's name and how predictions are written.
        split: The test split.
        logits: (n, num_labels), in the order of the split's rows.

    Returns:
        The file.
    """
    path = folder / spec.predictions_file(split)
    lines = ["index\tprediction"]
    lines += [f"{i}\t{word}" for i, word in enumerate(prediction_words(spec, logits))]
    write_text(path, "\n".join(lines) + "\n")
    return path


def prediction_words(spec: TaskSpec, logits: NDArray[Any]) -> list[str]:
    """Each row's prediction as the file writes it: a word, a class id, or three decimals."""
    if spec.is_regression:
        low, high = spec.submission.bounds or (-np.inf, np.inf)
        return [f"{value:.3f}" for value in np.clip(logits[:, 0], low, high)]
    ids = logits.argmax(axis=1)
    names = spec.labels or ()
    return [str(i) if spec.submission.ids else names[i] for i in ids]
