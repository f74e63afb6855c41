"""The examples of one split, as a source gives them and as their labels were understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_TYPE = "classification"


@dataclass(frozen=True)
class Examples:
    """Texts with their labels.

    Attributes:
        text: The first (or only) text of each example.
        text_pair: The second text, for tasks with two.
        labels: As the task's type has them, e.g. int64 class ids; None where unlabelled.
        dropped: Rows of the source that were left out.
        task_type: Name of the task's type.
    """

    text: list[str]
    text_pair: list[str] | None = None
    labels: NDArray[Any] | None = None
    dropped: int = 0
    task_type: str = DEFAULT_TYPE

    def __len__(self) -> int:
        return len(self.text)

    def take(self, indices: Sequence[int] | NDArray[Any]) -> Examples:
        """The examples at these positions, in this order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            text=[self.text[i] for i in chosen],
            text_pair=None if self.text_pair is None else [self.text_pair[i] for i in chosen],
            labels=None if self.labels is None else self.labels[chosen],
        )


@dataclass(frozen=True)
class RawSplit:
    """One split as its source gives it: the label cells not yet understood.

    Attributes:
        source: The file or hub split, as error messages name it.
        text: The first text of each row that has all its texts.
        text_pair: The second text, for tasks with two.
        cells: The label cell of each row; None where the source has no label column.
        places: Where each row stands, e.g. `line 7` without the word.
        unit: The word: `line` or `row`.
        dropped: The rows left out.
        first_dropped: The first of them and why, for an error message.
        classes: The names of all classes in the order of their ids, where the source has them.
    """

    source: str
    text: list[str]
    text_pair: list[str] | None
    cells: list[Any] | None
    places: list[int]
    unit: str = "row"
    dropped: int = 0
    first_dropped: str = ""
    classes: tuple[str, ...] = ()
