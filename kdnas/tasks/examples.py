"""The examples of one split: as a source gives them, and with their labels understood."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DEFAULT_TYPE = "classification"
WHOLE = re.compile(r"([+-]?\d+)(\.0*)?", re.ASCII)


@dataclass(frozen=True)
class Examples:
    """Texts with their labels."""

    text: list[str]
    text_pair: list[str] | None = None  # for tasks with two texts
    labels: NDArray[Any] | None = None  # in the form of the task's type; None where unlabelled
    dropped: int = 0  # rows of the source that were left out
    task_type: str = DEFAULT_TYPE  # a key of TASK_TYPES

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
    """One split as its source gives it: the label cells not yet understood."""

    source: str  # the file or hub split, as error messages name it
    text: list[str]  # of each row that has all its texts
    text_pair: list[str] | None
    cells: list[Any] | None  # label cells; None where the source has no label column
    places: list[int]  # the number of each row in the source
    unit: str = "row"  # what the numbers count: `line` or `row`
    dropped: int = 0  # rows left out
    first_dropped: str = ""  # the first of them and why
    classes: tuple[str, ...] = ()  # names in the order of their ids, where the source has them


class NoLabel(Enum):
    """Why a row has no label."""

    MISSING = "the cell is empty: a malformed row"
    UNLABELLED = "the data set says so: `-` in MNLI and SNLI, -1 on the hub"


Label = int | float | NoLabel


def label_word(cell: Any) -> str:
    """A label cell as one plain word: 1.0 and '1' are `1`, True is `true`, None and NaN are empty.

    Golden: ' Yes ' -> 'Yes'; 1 -> '1'; 2.0 -> '2'; '3.80' -> '3.80'.
    """
    if cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell)).lower()
    word = str(cell).strip()
    whole = WHOLE.fullmatch(word)
    return str(int(whole[1])) if whole else word
