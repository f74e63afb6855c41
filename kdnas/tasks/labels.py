"""Label cells, as files write them, to class ids or scores."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from kdnas.errors import KdnasError
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.spec import TaskSpec

_WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+")
_BOOLEANS = {"false": 0, "true": 1}


class Gap(Enum):
    """Why a row has no label."""

    MISSING = "the cell is empty: a malformed row"
    UNLABELLED = "the data set says so: `-` in MNLI and SNLI, -1 on the hub"


Label = int | float | Gap


def label_word(cell: Any) -> str:
    """A label cell as one plain word: 1.0 and '1' are `1`, True is `true`, None and NaN are empty.

    Golden: ' Yes ' -> 'Yes'; 1 -> '1'; 2.0 -> '2'; '3.80' -> '3.80'.
    """
    if cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell)).lower()
    word = str(cell).strip()
    whole = _WHOLE.fullmatch(word)
    return str(int(whole[1])) if whole else word


def find_labels(spec: TaskSpec, train: RawSplit) -> TaskSpec:
    """The task with its class names, taken from the training data where the task lists none.

    A hub data set tells the order of its classes. Elsewhere numbers are sorted by value, words
    alphabetically; -1 counts as a class.

    Raises:
        KdnasError: The training labels look like scores, or there are fewer than two.
    """
    if spec.is_regression or spec.labels is not None:
        return spec
    cells = train.cells or []
    words = {label_word(cell) for cell in cells} - {"", "-"}
    names = list({word.casefold(): word for word in sorted(words, reverse=True)}.values())
    decimals = [name for name in names if _DECIMAL.fullmatch(name)]
    if decimals or (len(names) > 20 and 2 * len(names) > len(cells)):
        raise KdnasError(
            f"{train.source}: found {len(names)} different labels in {len(cells)} rows, such as "
            f"{(decimals or names)[0]!r}; set `regression: true` if they are scores, else list the "
            f"labels of task {spec.name!r}"
        )
    if len(names) < 2:
        found = f"only the label {names[0]!r}" if names else "no label"
        raise KdnasError(f"{train.source}: found {found}; classification needs two or more")
    try:
        return TaskSpec.model_validate({**spec.model_dump(), "labels": _ordered(names, train)})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        found = ", ".join(sorted(names))
        raise KdnasError(
            f"{train.source} has the labels {found}; task {spec.name!r}: {problem}"
        ) from None


def _ordered(names: list[str], train: RawSplit) -> list[str]:
    """The labels found, in the order of their ids."""
    told = [label_word(name) for name in train.classes]
    if {word.casefold() for word in told} >= {word.casefold() for word in names}:
        return told
    if all(_WHOLE.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names, key=str.casefold)


def parse_labels(raw: RawSplit, spec: TaskSpec) -> list[Label]:
    """Each row's class id or score, or why it has none.

    Raises:
        KdnasError: A cell is neither a label of the task nor a class id.
    """
    if raw.cells is None:
        return [Gap.UNLABELLED] * len(raw.text)
    words = [label_word(cell) for cell in raw.cells]
    parse = _score if spec.is_regression else _ClassIds(spec.labels or ())
    known: dict[str, Label] = {}
    for word, place in zip(words, raw.places, strict=True):
        if word not in known:
            value = parse(word)
            if value is None:
                raise KdnasError(
                    f"{raw.source}, {raw.unit} {place}: the label is {word[:60]!r}; "
                    f"it should be {_expected(spec)}"
                )
            known[word] = value
    # The hub marks the rows of an unlabelled split with -1, which is also a possible score.
    if spec.is_regression and set(known.values()) == {-1.0}:
        return [Gap.UNLABELLED] * len(words)
    return [known[word] for word in words]


class _ClassIds:
    """Class name (letter case aside) or class id to class id; None where it is neither.

    Where names are numbers, a number is a name.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._ids = {label_word(label).casefold(): i for i, label in enumerate(labels)}
        self._numbered = any(map(_WHOLE.fullmatch, self._ids))

    def __call__(self, word: str) -> Label | None:
        if not word:
            return Gap.MISSING
        if word.casefold() in self._ids:
            return self._ids[word.casefold()]
        if word in ("-", "-1"):
            return Gap.UNLABELLED
        number = _BOOLEANS.get(word.casefold(), int(word) if _WHOLE.fullmatch(word) else -1)
        if self._numbered:
            return self._ids.get(str(number)) if word.casefold() in _BOOLEANS else None
        return number if 0 <= number < len(self._ids) else None


def _score(word: str) -> Label | None:
    if not word:
        return Gap.MISSING
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _expected(spec: TaskSpec) -> str:
    if spec.is_regression:
        return "a number"
    labels = spec.labels or ()
    ids = "" if any(map(_WHOLE.fullmatch, labels)) else f", or their ids 0 to {len(labels) - 1}"
    return f"one of {', '.join(labels)}{ids}"
