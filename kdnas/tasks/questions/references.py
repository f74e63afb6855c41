"""Reference answers of a question: read from a cell, checked against its context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from kdnas.runtime.formatting import several
from kdnas.tasks.examples import BadLabel, Label, NoLabel, is_empty, kind_of, shown

# What an `answers` cell holds, for messages.
FORM = '{"text": ["..."], "answer_start": [0]} or a list of {"text": "...", "answer_start": 0}'


class References(NamedTuple):
    """The answers that are right, and where they begin in the context; none: there is no answer.

    `left_out` says of each other one of the cell that it is not in the context, `moved` of each
    of these that it begins beside the place that the cell says.
    """

    texts: tuple[str, ...]
    starts: tuple[int, ...]
    left_out: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    @property
    def usual(self) -> tuple[int, int]:
        """First character, and the one behind the last, of what most references say; (0, 0): none.

        Of equally frequent ones the first.
        """
        if not self.texts:
            return 0, 0
        [((text, start), _)] = Counter(zip(self.texts, self.starts, strict=True)).most_common(1)
        return start, start + len(text)


class Passage(NamedTuple):
    """What decoding and scoring read of a question."""

    context: str
    answers: tuple[str, ...] | None  # None where they are not known
    id: str | None  # what its source calls it


def read_references(cell: Any, context: str) -> Label:
    """The references in a cell, NoLabel where it holds none, BadLabel where none of them fits.

    Golden, in 'built in 1889': {"text": ["1889"], "answer_start": [9]} -> (('1889',), (9,));
    [] -> no reference.
    """
    if isinstance(cell, NoLabel):
        return cell
    if is_empty(cell) or (isinstance(cell, str) and not cell.strip()):
        return NoLabel.MISSING
    if counts := _unequal(cell):
        return BadLabel("answers without one start for each text", counts)
    texts, starts, wrong, moved = list[str](), list[int](), list[str](), list[str]()
    for text, start in _pairs(cell):
        problem = _fault(text, start)
        if problem:
            return BadLabel("answers in another form", f"{problem}; expected {FORM}")
        found = place_of(text, int(start), context)
        if found is None:
            wrong.append(_misplaced(text, int(start), context))
            continue
        texts.append(context[found : found + len(text)])
        starts.append(found)
        if found != start:
            moved.append(f"{shown(text)!r} at character {int(start)}, found at {found}")
    if wrong and not texts:
        return BadLabel("an answer that is not in its context", wrong[0])
    return References(tuple(texts), tuple(starts), tuple(wrong), tuple(moved))


def place_of(text: str, start: int, context: str) -> int | None:
    """Where an answer begins in its context; None where it is not there.

    Spaces before it, and of another kind in it, are no difference, nor is a place that is one
    character off.
    """
    if start < 0 or not text.strip():
        return None
    for at in (start, start + len(text) - len(text.lstrip()), start - 1, start + 1):
        there = context[max(0, at) : max(0, at) + len(text)]
        if at >= 0 and len(there) == len(text) and _alike(there, text):
            return at
    return None


def _alike(there: str, text: str) -> bool:
    """Whether two texts of one length are the same, whatever kind their spaces are of."""
    if there == text:
        return True
    pairs = zip(there, text, strict=True)
    return all(a == b or (a.isspace() and b.isspace()) for a, b in pairs)


def _misplaced(text: str, start: int, context: str) -> str:
    where = f"{shown(text)!r} at character {shown(str(start))}"
    if not 0 <= start < len(context):
        return f"{where} of a context of {len(context)}"
    return f"{where}, where its context has {shown(context[start : start + len(text)])!r}"


def _pairs(cell: Any) -> Iterator[tuple[Any, Any]]:
    """Texts and starts of a cell; of what is in another form, something that `_fault` names."""
    if isinstance(cell, Mapping) and "text" in cell:
        texts, starts = cell["text"], cell.get("answer_start")
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        texts, starts = _listed(texts), _listed(starts)
        if texts is None or starts is None or len(texts) != len(starts):
            yield cell, None
        else:
            yield from zip(texts, starts, strict=True)
    elif (items := _listed(cell)) is not None:
        for item in items:
            known = isinstance(item, Mapping)
            yield (item.get("text"), item.get("answer_start")) if known else (item, None)
    else:
        yield cell, None


def _unequal(cell: Any) -> str:
    """How many texts and starts a cell has, where these are lists of different lengths."""
    if not isinstance(cell, Mapping):
        return ""
    texts, starts = _listed(cell.get("text")), _listed(cell.get("answer_start"))
    if texts is None or starts is None or len(texts) == len(starts):
        return ""
    found = several(len(texts), "text"), several(len(starts), "number")
    return f"{found[0]}, {found[1]} under `answer_start`"


def _listed(value: Any) -> list[Any] | None:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else None


def _fault(text: Any, start: Any) -> str:
    """What is wrong with one answer; nothing where it is sound."""
    if not isinstance(text, str):
        return f"{kind_of(text)} as an answer"
    whole = isinstance(start, Integral) and not isinstance(start, bool)
    # Parquet has NaN where one is missing, and JSON may say 1e999.
    if not whole and not (isinstance(start, float) and start.is_integer()):
        return f"no whole number as `answer_start` of {shown(text)!r}"
    return ""
