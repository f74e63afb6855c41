"""The values that kinds of tasks take and give, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from kdnas.tasks.types.metric import Array

# Words that data sets write for no label.
MARKS = ("-", "-1", "-100", "?", "n/a", "none", "null", "nan")
LogitLoss = Literal["kl", "ce", "mse"]
# The key of a config under which a model keeps what `TaskType.choose_threshold` chose for it.
THRESHOLD = "kdnas_threshold"


class LabelScale(NamedTuple):
    """Mean and spread of training labels; in standard units a label is (label - mean) / spread."""

    mean: float = 0.0
    spread: float = 1.0

    def standard(self, labels: Array) -> Array:
        """Labels in standard units."""
        if self == UNSCALED:
            return labels
        return ((labels.astype(np.float64) - self.mean) / self.spread).astype(labels.dtype)

    def restored(self, outputs: Array) -> Array:
        """Outputs in standard units in the unit of the labels."""
        if self == UNSCALED:
            return outputs
        return outputs.astype(np.float64) * self.spread + self.mean


UNSCALED = LabelScale()


class Constant(NamedTuple):
    """The best answer of who knows training labels but no text."""

    name: str
    predict: Callable[[Any], Array]  # what it says of the rows of some examples


class Submission(BaseModel):
    """The predictions file that a benchmark takes for an unlabelled test split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, str] = {}  # names by split
    ids: bool = False  # whether classes stand there as ids rather than names
    bounds: tuple[float, float] | None = None  # between which a score is cut


# Of tasks that label whole texts: relations beside labels and logits were better than hidden states
# (docs/results.md, Recipes).
RELATIONS: Mapping[str, Any] = {"intermediate_losses": {"relations": 1.0}}


def threshold_of(config: Any) -> float | None:
    """The threshold that a model's config keeps, if any."""
    found = getattr(config, THRESHOLD, None)
    return None if found is None else float(found)


def object_rows(values: Sequence[Any]) -> Array:
    """Values of any kind, one a row, lists as tuples: shape (rows,)."""
    found = np.empty(len(values), dtype=object)
    found[:] = [_plain(value) for value in values]
    return found


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | np.ndarray) else value
