"""Label cells, as files write them, as plain words."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

WHOLE = re.compile(r"([+-]?\d+)(\.0*)?", re.ASCII)


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
