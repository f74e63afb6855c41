"""What a black-box teacher says of a row: from the cells of a file to logits."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.examples import kind_of, label_word, shown

Array = NDArray[Any]
# A label without a probability has 0.9 and its even part of the rest, as the targets of Szegedy et
# al. 2016, Rethinking the Inception Architecture for Computer Vision (label smoothing).
SMOOTHING = 0.1
# What a probability of 0 counts as: its logarithm must be a number.
LEAST = 1e-6
# By how much probabilities of several classes may miss a sum of one.
TOLERANCE = 0.01
# Of numbers, in size: models compute in float32.
LARGEST = float(np.finfo(np.float32).max)
# What floating-point numbers miss: 1 - (0.33 + 0.33 + 0.33) is a little more than 0.01.
HAIR = 1e-6
# By how much a probability of two decimal places may be too small.
ROUNDED = 0.005


class PredictionError(Exception):
    """What a file says of a row is no prediction of the task: why, and what to give instead."""


# Gives the id of the class that a word names; anything else where it names none.
Parse = Callable[[str], Any]


def numbers_of(
    cell: Any, labels: Sequence[str], parse: Parse, what: str, missing: float | None = None
) -> Array:
    """A list with one number for each class, or a mapping of classes to numbers: shape (classes,).

    Args:
        cell: From a file; of a mapping what is None is not there.
        labels: Names of the classes.
        parse: Understands the names in a mapping.
        what: The name of the cell's column.
        missing: What a class has that a mapping lacks; None refuses it.

    Raises:
        PredictionError: It is neither, or does not fit the classes.
    """
    if isinstance(cell, Mapping):
        return _mapped(cell, labels, parse, what, missing)
    if not isinstance(cell, list | tuple | np.ndarray):
        raise PredictionError(
            f"{kind_of(cell)} under {what!r}; give a list, or an object with a number for each of "
            f"{listed(labels)}"
        )
    if len(cell) != len(labels):
        raise PredictionError(
            f"{len(cell)} numbers under {what!r} for {len(labels)} labels; give one for each of "
            f"{listed(labels)}"
        )
    return np.array([number_of(value, what) for value in cell])


def number_of(cell: Any, what: str) -> float:
    """A number that float32 holds; PredictionError where a cell holds something else."""
    sound = isinstance(cell, numbers.Real | np.number) and not isinstance(cell, bool | np.bool_)
    if not sound or not _is_finite(cell):
        found = shown(repr(cell)) if sound else kind_of(cell)
        raise PredictionError(f"{found} under {what!r}; give a number")
    if abs(cell) > LARGEST:
        raise PredictionError(
            f"{float(cell):g} under {what!r} is too large; give numbers up to {LARGEST:.2g}"
        )
    return float(cell)


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def share_of(cell: Any, what: str) -> float:
    """A probability; PredictionError where a cell holds something else."""
    return float(shares(np.array([number_of(cell, what)]), what)[0])


def shares(values: Array, what: str) -> Array:
    """Probabilities; PredictionError where one is none."""
    bad = values[(values < -HAIR) | (values > 1 + HAIR)]
    if len(bad):
        raise PredictionError(f"{bad[0]:g} under {what!r}; a probability is from 0 to 1")
    found: Array = np.clip(values, 0, 1)
    return found


def distribution(values: Array, what: str) -> Array:
    """Probabilities of classes that exclude each other; PredictionError unless their sum is 1."""
    total = float(shares(values, what).sum())
    if abs(total - 1) > TOLERANCE + HAIR:
        raise PredictionError(
            f"the numbers under {what!r} add up to {total:.4g}; probabilities add up to 1 (give "
            "numbers of another kind as 'logits')"
        )
    return values / total


def logarithms(chances: Array) -> Array:
    """Log-probabilities, those of LEAST at the least."""
    found: Array = np.log(np.maximum(chances, LEAST))
    return found


def log_odds(chances: Array) -> Array:
    """Logits of labels that do not exclude each other.

    Golden: 0.5 -> 0; 0.95 -> 2.944439.
    """
    inside = np.clip(chances, LEAST, 1 - LEAST)
    found: Array = np.log(inside) - np.log1p(-inside)
    return found


def smoothed(index: int, outputs: int, share: float | None = None) -> Array:
    """Log-probabilities of one class, of which the share is known or not.

    Golden: of class 1 of 2 -> log [0.05, 0.95]; with the share 0.8 -> log [0.2, 0.8].
    """
    if share is None:
        share = 1 - SMOOTHING + SMOOTHING / outputs
    chances = np.full(outputs, (1 - share) / max(1, outputs - 1))
    chances[index] = share
    return logarithms(chances)


def one_of(cell: Any, labels: Sequence[str], parse: Parse, what: str) -> int:
    """The id of a label; PredictionError for one that the task has not."""
    simple = isinstance(cell, str | numbers.Real | np.generic)
    word = label_word(cell) if simple else ""
    found = parse(word) if word else None
    if not isinstance(found, int):
        told = f"unknown label {shown(word)!r}" if simple else f"{kind_of(cell)} as a label"
        raise PredictionError(f"{told} under {what!r}; give one of {listed(labels)}")
    return found


def listed(labels: Sequence[str]) -> str:
    """Labels in a line, the first of many."""
    more = len(labels) - 10
    return ", ".join(map(shown, labels[:10])) + (f" and {more} more" if more > 0 else "")


def _mapped(
    cell: Mapping[Any, Any], labels: Sequence[str], parse: Parse, what: str, missing: float | None
) -> Array:
    found: dict[int, float] = {}
    for name, value in cell.items():
        if value is None:  # of a column of structures in Parquet
            continue
        at = one_of(name, labels, parse, what)
        if at in found:
            raise PredictionError(f"the label {shown(str(name))!r} twice under {what!r}; give one")
        found[at] = number_of(value, what)
    lacking = [label for i, label in enumerate(labels) if i not in found]
    if lacking and (missing is None or not found):
        raise PredictionError(f"no number for {shown(lacking[0])!r} under {what!r}; give one")
    return np.array([found.get(i, missing) for i in range(len(labels))], np.float64)
