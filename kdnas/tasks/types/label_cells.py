"""Label cells of which each may hold several labels: columns of 0 and 1, lists, joined words."""

from __future__ import annotations

import ast
import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.tasks.examples import (
    NoLabel,
    RawSplit,
    is_empty,
    is_mark,
    kind_of,
    label_word,
    plain_word,
    shown,
)
from kdnas.tasks.types.joined_labels import SEPARATORS

_BIT = re.compile(r"([01])(?:\.0*)?|false|true")
_LONGEST_LIST = 100_000


def with_words(raw: RawSplit, labels: Sequence[str]) -> RawSplit:
    """A split with tuples of words as its label cells; what was assumed is added to `assumed`.

    Args:
        raw: Its cells are words with separators, lists of names or of ids, lists of 0 and 1, or
            what columns of 0 and 1 hold, by name.
        labels: Names of the classes; empty where they are not known yet.

    Raises:
        KdnasError: A cell holds something else.
    """
    if raw.cells is None:
        return raw
    cells = [_opened(cell) for cell in raw.cells]
    columns = tuple(dict.fromkeys(k for cell in cells if isinstance(cell, dict) for k in cell))
    classes = raw.classes or tuple(map(str, columns))
    lists = [cell for cell in cells if isinstance(cell, list)]
    # What few rows have may look like another form by chance: lists of train decide for all splits.
    deciding = (label_lists(raw.train) if lists and raw.train is not None else []) or lists
    names = labels or [label_word(name) for name in classes]
    # Where train had no vectors, nothing else has: classes that were found there are words.
    vectors = (raw.ids or bool(raw.classes)) and _are_vectors(deciding, len(names))
    if vectors and not names:
        length = max(map(len, lists))
        raise KdnasError(
            f"{raw.source}: the labels are lists of {length} values of 0 or 1, which name no "
            f"classes; list {length} names under `labels:` in the task"
        )
    words = [label_word(c) for c in cells if not isinstance(c, list | dict | NoLabel)]
    separator = raw.separator or find_separator(words, labels)
    read = _CellReader(raw, names if vectors else None, separator)
    told = []
    if separator and not raw.separator:
        told.append(f"labels of a row are separated by {separator!r}")
    plain = [read(cell, place) for cell, place in zip(cells, raw.places, strict=True)]
    if empty := sum(cell == () for cell in plain):
        told.append(f"{several(f'{empty:,}', 'row')} without a label")
    return replace(raw, cells=plain, classes=classes, assumed=(*raw.assumed, *told))


def label_lists(raw: RawSplit) -> list[list[Any]]:
    """The label cells of a split that are lists, also as text."""
    return [found for cell in raw.cells or () if isinstance(found := _opened(cell), list)]


class _CellReader:
    """Reads a split's label cells as tuples of words; attributes are those of all its cells."""

    def __init__(self, raw: RawSplit, names: Sequence[str] | None, separator: str | None) -> None:
        self.raw, self.names, self.separator = raw, names, separator  # names: of vectors

    def __call__(self, cell: Any, place: int) -> tuple[str, ...] | NoLabel:
        """One cell, the number of whose row is `place`; KdnasError where it cannot be read."""
        if isinstance(cell, NoLabel):
            return cell
        if is_empty(cell):
            return ()
        if isinstance(cell, dict):
            return self._bits(cell, place)
        if isinstance(cell, list) and self.names is not None:
            if len(cell) != len(self.names):
                raise self._error(
                    f"labels {_brief(cell)}",
                    place,
                    f"{len(self.names)} values of 0 or 1, for {', '.join(map(shown, self.names))}",
                )
            there = (NoLabel.MISSING if is_empty(one) else one for one in cell)
            return self._bits(dict(zip(self.names, there, strict=True)), place)
        items = cell if isinstance(cell, list) else self._parts(cell, place)
        if NoLabel.UNLABELLED in items:
            return NoLabel.UNLABELLED
        for item in items:
            if is_empty(item) or not isinstance(item, str | int | float | np.generic):
                wanted = "a list of names, such as ['a', 'b'], or of ids"
                raise self._error(f"labels {_brief(cell)}", place, wanted)
        words = [label_word(item) for item in items]
        marks = self.raw.unlabelled
        marked = any(is_mark(word, marks) for word in words)
        return NoLabel.UNLABELLED if marked else tuple(filter(None, words))

    def _parts(self, cell: Any, place: int) -> list[Any]:
        """The labels in a cell that is a word or a number."""
        if not isinstance(cell, str | int | float | np.generic):
            raise self._error(f"label {kind_of(cell)}, {_brief(cell)}", place, "names of labels")
        word = label_word(cell)
        if is_mark(word, self.raw.unlabelled):
            return [NoLabel.UNLABELLED]
        return [word] if self.separator is None else list(word.split(self.separator))

    def _bits(self, cells: Mapping[str, Any], place: int) -> tuple[str, ...] | NoLabel:
        """The names of the cells that hold a 1, of a row whose cells hold 0 or 1.

        None stands for 0: Parquet writes it for a key that an object lacks.
        """
        found: list[str] = []
        why: NoLabel | None = None
        for name, cell in cells.items():
            if is_empty(cell):
                continue
            single = not isinstance(cell, list | dict | tuple | np.ndarray | NoLabel)
            word = label_word(cell) if single else ""
            if cell is NoLabel.UNLABELLED or (single and is_mark(word, self.raw.unlabelled)):
                return NoLabel.UNLABELLED
            if not word and (single or cell is NoLabel.MISSING):
                why = NoLabel.MISSING
                continue
            if (bit := _bit(word)) is None:
                said = shown(word) if single else _brief(cell)
                raise self._error(f"label {said!r} under {name!r}", place, "0 or 1")
            found += [name] * bit
        return tuple(found) if why is None else why

    def _error(self, what: str, place: int, wanted: str) -> KdnasError:
        raw = self.raw
        return KdnasError(f"{raw.source}, {raw.unit} {place}: invalid {what}; expected {wanted}")


def find_separator(words: Sequence[str], labels: Sequence[str] = ()) -> str | None:
    """What stands between the labels of cells: that under which there are fewest of them.

    Where the labels are known, that under which most are. None: a cell is one label.

    Golden: ['a|b, c', 'b, c'] -> '|'; ['a, b', 'b'] -> ','; with the labels ['a, b'] -> None.
    """
    names = {plain_word(label) for label in labels}
    tried: list[str | None] = [s for s in SEPARATORS if any(s in word for word in words)]
    if labels:
        tried += [" "] * any(" " in word for word in words)
        tried += [None]

    def parts(separator: str | None) -> int:
        split = ([word] if separator is None else word.split(separator) for word in words)
        found = {plain_word(part.strip()) for word in split for part in word if part.strip()}
        known = {name for name in found if name in names or (name.isdecimal() and labels)}
        return len(found - known)

    whole = bool(labels) and parts(None) == 0
    return None if whole else min(tried, key=parts, default=None)


def _opened(cell: Any) -> Any:
    """A cell, lists as lists, also those that stand in it as text: `['a', 'b']`."""
    if isinstance(cell, tuple | set | np.ndarray):
        return list(cell)
    text = cell.strip() if isinstance(cell, str) else ""
    if not (text.startswith("[") and text.endswith("]") and len(text) <= _LONGEST_LIST):
        return cell
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, list):
            return found
    return cell


def _bit(word: str) -> int | None:
    """Golden: '1.0' -> 1; 'False' -> 0; '2' -> None."""
    found = _BIT.fullmatch(word.casefold())
    return found and int(found[1] or found[0] == "true")


def _are_vectors(lists: Sequence[list[Any]], classes: int) -> bool:
    """Whether lists hold 0 or 1 for each class rather than some of the classes' ids.

    `classes` is 0 where their number is not known. Golden: [0, 1, 0] and [1, 1, 0] are; [0, 1] and
    [1] are not.
    """
    lengths = [len(each) for each in lists]
    size = classes or max(set(lengths), key=lengths.count, default=0)
    as_bits = as_ids = 0
    for each in lists:
        words = [label_word(item) for item in each if isinstance(item, int | float | np.generic)]
        numbers = len(words) == len(each)
        as_bits += numbers and len(each) == size > 1 and all(_bit(w) is not None for w in words)
        distinct = len(set(words)) == len(each)
        as_ids += not numbers or (distinct and not any(w in ("false", "true") for w in words))
    return as_bits > as_ids or (as_bits == as_ids > 0 and classes > 0)


def _brief(cell: Any) -> str:
    return " ".join(reprlib.repr(cell).split())
