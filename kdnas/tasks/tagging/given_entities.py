"""Predictions that are entities by their characters, read as a tag for each word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.examples import Examples, kind_of, shown
from kdnas.tasks.predicted import PredictionError, listed, logarithms
from kdnas.tasks.tagging.entities import Tags
from kdnas.tasks.tagging.words import split_words

# An entity of a prediction, for messages.
ENTITY = '{"type": "...", "start": 0, "end": 5}'


def tags_of_entities(cell: Any, labels: Sequence[str], examples: Examples, row: int) -> list[int]:
    """The tag of each word of a row, from entities by their characters.

    Raises:
        PredictionError: One is in another form, of an unknown type, in no word, or in another's.
    """
    if not isinstance(cell, list | tuple | np.ndarray):
        raise PredictionError(f"{kind_of(cell)} under 'entities'; give a list of {ENTITY}")
    text, tags = examples.text[row], Tags(labels)
    words = split_words(text) if examples.words is None else examples.words[row]
    found = [tags.outside] * len(words)
    if tags.outside < 0 or tags.scheme is None:
        raise PredictionError("the task's tags spell no entities; give 'tags'")
    for one in cell:
        kind, start, end = _entity(one, len(text))
        at = np.flatnonzero((words[:, 0] < end) & (words[:, 1] > start))
        if not len(at):
            raise PredictionError(f"no word at characters {start} to {end} of an entity")
        if any(found[i] != tags.outside for i in at):
            raise PredictionError(f"two entities at characters {start} to {end}; give one")
        if kind not in tags.types:
            raise PredictionError(
                f"an entity of the unknown type {shown(kind)!r}; give one of {listed(tags.types)}"
            )
        found[at[0] : at[-1] + 1] = tags.spelled(kind, len(at))
    return found


def _entity(one: Any, length: int) -> tuple[str, int, int]:
    """Type, first character and the one behind the last."""
    if not isinstance(one, Mapping):
        raise PredictionError(f"{kind_of(one)} as an entity; give {ENTITY}")
    kind, start, end = one.get("type"), _whole(one.get("start")), _whole(one.get("end"))
    if not (isinstance(kind, str) and 0 <= start < end <= length):
        found = shown(json.dumps(dict(one), default=str, ensure_ascii=False))
        raise PredictionError(
            f"the entity {found}; give {ENTITY}, with characters of a text of {length}"
        )
    return kind, start, end


def _whole(value: Any) -> int:
    """A whole number; -1 for anything else."""
    sound = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return int(value) if sound else -1


def further_pieces(logits: NDArray[Any], inside: Sequence[int]) -> NDArray[Any]:
    """Log-probabilities of the tags of further pieces, from those of words' first pieces."""
    from scipy.special import softmax

    chances = softmax(np.asarray(logits, np.float64), axis=-1)
    moved = np.zeros_like(chances)
    for tag, to in enumerate(inside):
        moved[:, to] += chances[:, tag]
    return logarithms(moved)
