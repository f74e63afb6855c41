"""Where a black-box teacher says that answers begin and end, and its logits of that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.characters import Characters
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import BadLabel, NoLabel, kind_of, shown
from kdnas.tasks.predicted import (
    SMOOTHING,
    PredictionError,
    logarithms,
    number_of,
    share_of,
    shares,
)
from kdnas.tasks.questions.references import References, read_references

# Stands for no answer among characters.
NONE = -1
# Columns with every place that has a probability, as `kdnas predict --probabilities` writes them.
STARTS, ENDS = "starts", "ends"
TOLD = 1e-5  # of probabilities that are written
# How far two probabilities of one place may be apart: as a share, or at all.
_NEARLY, _NEAR = 1e-2, 1e-4
FORM = "a list of [character, probability], with null as the character of no answer"


class Places(NamedTuple):
    """Characters with their probabilities; what is missing to 1 is spread over all tokens.

    `starts` are first characters of an answer, `ends` those behind its last; NONE: no answer.
    """

    starts: tuple[tuple[int, float], ...]
    ends: tuple[tuple[int, float], ...]


def read_places(cells: Mapping[str, Any], context: str) -> Places:
    """The columns of a file on one question.

    These are `starts` and `ends`; or `answer` (empty for none) with its first character, `start`,
    and where it is known the probability of the whole answer, `score`.

    Golden, in 'built in 1889': answer 1889, start 9, score 0.81 -> starts ((9, 0.9),), ends
    ((13, 0.9),).

    Raises:
        PredictionError: They do not fit the context.
    """
    if STARTS in cells or ENDS in cells:
        both = (_chances(cells.get(name), name, len(context)) for name in (STARTS, ENDS))
        return Places(*both)
    if "answer" not in cells:
        raise PredictionError("no 'answer'; give one, empty for none")
    answer, share = cells["answer"], 1 - SMOOTHING
    if not isinstance(answer, str):
        raise PredictionError(f"{kind_of(answer)} under 'answer'; give a text, empty for none")
    if "score" in cells:
        share = math.sqrt(share_of(cells["score"], "score"))
    if not answer.strip():
        return Places(((NONE, share),), ((NONE, share),))
    start, end = _span(answer, cells.get("start"), context)
    return Places(((start, share),), ((end, share),))


def moved_places(places: Places, of: str, to: str) -> Places:
    """Places in a context, in another that is the same but for its spaces.

    Golden, of 'in 1889' to ' in  1889': ((3, 0.9),), ((7, 0.9),) -> ((5, 0.9),), ((9, 0.9),).
    """
    moved = Characters(of, to)
    found = [
        tuple((at if at == NONE else move(at), share) for at, share in side)
        for side, move in zip(places, (moved.first, moved.behind), strict=True)
    ]
    return Places(*found)


def are_near(one: Places, other: Places) -> bool:
    """Whether every place is about as probable in both, in whatever order they stand."""
    for ours, theirs in zip(map(_by_place, one), map(_by_place, other), strict=True):
        for place in ours.keys() | theirs.keys():
            both = ours.get(place, 0.0), theirs.get(place, 0.0)
            if not math.isclose(*both, rel_tol=_NEARLY, abs_tol=_NEAR):
                return False
    return True


def places_of(label: References) -> Places:
    """What a file would say that has the usual answer of a question's references."""
    start, end = label.usual if label.texts else (NONE, NONE)
    return Places(((start, 1 - SMOOTHING),), ((end, 1 - SMOOTHING),))


def logits_of_units(predictions: Sequence[Places], data: EncodedExamples) -> NDArray[np.float32]:
    """Start and end logits of each unit of windows, shape (units, 2).

    The first unit of a window stands for no answer. It has what is outside of the window, and all
    where the likeliest start or end is, as in labels.
    """
    assert data.spans is not None
    offsets = data.unit_offsets
    rows = np.arange(len(data)) if data.rows is None else data.rows
    found = np.zeros((int(offsets[-1]), 2), np.float32)
    for window, row in enumerate(rows):
        units = slice(offsets[window], offsets[window + 1])
        spans = data.spans[units]
        inside = all(
            _is_inside(spans, places, side) for side, places in enumerate(predictions[row])
        )
        for side, places in enumerate(predictions[row]):
            chances = np.zeros(len(spans))
            for character, share in places:
                chances[_unit(spans, character, side) if inside else 0] += share
            chances += max(0.0, 1 - chances.sum()) / len(spans)
            found[units, side] = logarithms(chances / chances.sum())
    return found


def places_of_units(logits: NDArray[Any], data: EncodedExamples) -> list[Places]:
    """What start and end logits, shape (units, 2), say of each row: the reverse.

    Of several windows on a context a token has its highest probability, no answer its lowest; then
    all are divided by their sum.
    """
    assert data.spans is not None
    offsets = data.unit_offsets
    rows = np.arange(len(data)) if data.rows is None else data.rows
    found: list[tuple[dict[int, float], dict[int, float]]] = [
        ({}, {}) for _ in range(data.row_count)
    ]
    for window, row in enumerate(rows):
        units = slice(offsets[window], offsets[window + 1])
        both = np.asarray(logits[units], np.float64)
        chances = np.exp(both - both.max(0))
        chances /= chances.sum(0)
        for side, of_row in enumerate(found[row]):
            none = float(chances[0, side])
            of_row[NONE] = min(of_row.get(NONE, 1.0), none)
            characters = data.spans[units][1:, side].tolist()
            for character, share in zip(characters, chances[1:, side].tolist(), strict=True):
                of_row[character] = max(of_row.get(character, 0.0), share)
    return [Places(_shares_of(starts), _shares_of(ends)) for starts, ends in found]


def chances_of(places: Places) -> dict[str, list[list[float | None]]]:
    """The columns `starts` and `ends` of a file."""
    return {
        name: [[None if character == NONE else character, share] for character, share in side]
        for name, side in zip((STARTS, ENDS), places, strict=True)
    }


def _shares_of(chances: dict[int, float]) -> tuple[tuple[int, float], ...]:
    """Those that are not tiny, the highest first, of a sum of 1 with what is left out."""
    total = sum(chances.values())
    shares = ((character, share / total) for character, share in chances.items())
    told = sorted((one for one in shares if one[1] >= TOLD), key=lambda one: -one[1])
    return tuple(told)


def _by_place(side: tuple[tuple[int, float], ...]) -> dict[int, float]:
    """The probability of each character, of one that stands twice the sum."""
    found: dict[int, float] = {}
    for character, share in side:
        found[character] = found.get(character, 0.0) + share
    return found


def _is_inside(spans: NDArray[np.int32], places: tuple[tuple[int, float], ...], side: int) -> bool:
    """Whether the likeliest place is in a window, or is none."""
    likeliest = max(places, key=lambda one: one[1], default=(NONE, 1.0))[0]
    return likeliest == NONE or _unit(spans, likeliest, side) > 0


def _unit(spans: NDArray[np.int32], character: int, side: int) -> int:
    """The unit in which an answer begins (side 0) or ends; 0 where it is in none."""
    starts, ends = spans[1:, 0], spans[1:, 1]
    if character == NONE or not len(starts):
        return 0
    if side == 0:
        at = int(np.searchsorted(ends, character, side="right"))
        # The first token of a window may follow others that have the character.
        inside = at < len(ends) and (at > 0 or starts[0] <= character)
    else:
        at = int(np.searchsorted(starts, character, side="left")) - 1
        inside = at >= 0 and (at < len(starts) - 1 or ends[at] >= character)
    return at + 1 if inside else 0


def _span(answer: str, start: Any, context: str) -> tuple[int, int]:
    """The first character of an answer in its context, and the one behind its last."""
    answer = answer.strip()
    if start is None:
        count = context.count(answer)
        if count != 1:
            where = f"{count} times in its context" if count else "not in its context"
            raise PredictionError(f"the answer {shown(answer)!r} is {where}; give its 'start'")
        start = context.index(answer)
    number_of(start, "start")
    found = read_references({"text": [answer], "answer_start": [start]}, context)
    if isinstance(found, BadLabel | NoLabel):
        told = found.example if isinstance(found, BadLabel) else "the answer"
        raise PredictionError(f"{told}; give an answer as its context has it")
    assert isinstance(found, References)
    return found.usual


def _chances(cell: Any, name: str, length: int) -> tuple[tuple[int, float], ...]:
    if not isinstance(cell, list | tuple | np.ndarray):
        raise PredictionError(f"{kind_of(cell)} under {name!r}; give {FORM}")
    found = []
    for pair in cell:
        if not (isinstance(pair, list | tuple | np.ndarray) and len(pair) == 2):
            raise PredictionError(f"{shown(str(pair))} under {name!r}; give {FORM}")
        character = NONE if _is_none(pair[0]) else number_of(pair[0], name)
        if character != int(character) or not NONE <= character <= length:
            raise PredictionError(f"{pair[0]} under {name!r}: a context of {length} characters")
        found.append((int(character), number_of(pair[1], name)))
    total = float(shares(np.array([share for _, share in found]), name).sum())
    if total > 1 + 1e-3:
        raise PredictionError(f"the probabilities under {name!r} add up to {total:.4g}; 1 is most")
    return tuple(found)


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
