"""The examples of one split: as a source gives them, and with their labels understood."""

from __future__ import annotations

import math
import numbers
import re
import reprlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError

DEFAULT_TYPE = "classification"
# The classes of what pandas puts where nothing is; by name, because importing it takes a second.
MISSING = {"NAType", "NaTType"}
# Longer ones are names: no class has such a number, and Python refuses to read thousands of digits.
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# A whole number as a table of decimals writes it; one with leading zeros is a name.
WHOLE_DECIMAL = re.compile(r"(-?(0|[1-9]\d{0,17}))\.0*", re.ASCII)
# Where the words of a text are: shape (words, 2), their first characters and those behind them.
Spans = NDArray[np.int64]
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Examples:
    """Texts with their labels."""

    text: list[str]
    text_pair: list[str] | None = None  # for tasks with two texts
    labels: NDArray[Any] | None = None  # in the form of the task's type; None where unlabelled
    dropped: int = 0  # rows of the source that were left out
    task_type: str = DEFAULT_TYPE  # a key of TASK_TYPES
    words: list[Spans] | None = None  # of each text, for tasks whose texts come as words
    groups: list[str] | None = None  # what rows belong to, such as an article, where known
    classes: tuple[str, ...] = ()  # names of the classes in the order of their ids, where known
    row_ids: list[str] | None = None  # what the source calls its rows, where it names them
    left_out: frozenset[str] = frozenset()  # of rows that were left out, what the source calls them
    # What a black-box teacher says of each row, as `read_prediction` of its type gives it.
    predictions: list[Any] | None = None

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
            words=None if self.words is None else [self.words[i] for i in chosen],
            groups=None if self.groups is None else [self.groups[i] for i in chosen],
            row_ids=None if self.row_ids is None else [self.row_ids[i] for i in chosen],
            predictions=self.predictions and [self.predictions[i] for i in chosen],
        )


# The texts of a row, spaces aside.
Key = tuple[str, ...]


def key_of(texts: Sequence[str]) -> Key:
    """What texts are compared by."""
    return tuple(" ".join(text.split()) for text in texts)


def keys_of(examples: Examples) -> list[Key]:
    """What the texts of each row are compared by."""
    texts = [examples.text] if examples.text_pair is None else [examples.text, examples.text_pair]
    return [key_of(row) for row in zip(*texts, strict=True)]


@dataclass(frozen=True)
class Fault:
    """What some rows of a source have that leaves them out."""

    reason: str  # what they have, as in `no text under 'text'`
    count: int
    first: int  # the number of the first of them
    example: str = ""  # more of the first of them, as in `id 57`


@dataclass(frozen=True)
class RawSplit:
    """One split as its source gives it: the label cells not yet understood."""

    source: str  # the file or hub split, as error messages name it
    text: list[str]  # of each row that has all its texts
    text_pair: list[str] | None
    # Label cells, of several columns the cells by their names; None: there is no label column.
    cells: list[Any] | None
    places: list[int]  # the number of each row in the source
    unit: str = "row"  # what the numbers count: `line` or `row`
    faults: tuple[Fault, ...] = ()  # rows left out
    classes: tuple[str, ...] = ()  # names in the order of their ids, where the source has them
    ids: bool = True  # whether cells may hold ids: where the task lists its classes
    unlabelled: tuple[str, ...] = ()  # plain words of what stands in a cell for no label
    separator: str | None = None  # between the labels of a cell, where the task names it
    assumed: tuple[str, ...] = ()  # what a person should know of how the source was read
    words: list[Spans] | None = None  # as in `Examples`
    groups: list[str] | None = None  # likewise
    row_ids: list[str] | None = None  # likewise
    left_out: frozenset[str] = frozenset()  # as in `Examples`, of the faults
    train: RawSplit | None = None  # the training split of the same data, where that is read


class NoLabel(Enum):
    """Why a row has no label."""

    MISSING = "the cell is empty: a malformed row"
    UNLABELLED = "the task says so: `unlabelled`, or -1 among the classes of a hub data set"


@dataclass(frozen=True)
class BadLabel:
    """A label that does not fit its row, which is left out."""

    reason: str  # what such rows have, as in `an answer that is not in its context`
    example: str = ""  # what this one has


# What parsing gives: an id, a score or what else a type has for a label, or why there is none.
Label = Any


def is_label(value: object) -> bool:
    """Whether a parsed label is one."""
    return not isinstance(value, NoLabel | BadLabel)


def label_words(raw: RawSplit) -> list[str | NoLabel]:
    """Each label cell as a plain word; UNLABELLED where it is a mark that the task names.

    Raises:
        KdnasError: A cell holds several things: a list, an object.
    """
    words: list[str | NoLabel] = []
    for cell, place in zip(raw.cells or (), raw.places, strict=False):
        if isinstance(cell, NoLabel):
            words.append(cell)
            continue
        if not (is_empty(cell) or isinstance(cell, str | numbers.Number | np.bool_)):
            several = kind_of(cell) == "a list"
            raise KdnasError(
                f"{raw.source}, {raw.unit} {place}: the label is {kind_of(cell)}, "
                f"{' '.join(reprlib.repr(cell).split())}; give one string or number a row"
                + (", or set `type: multi-label` in the task" if several else "")
            )
        word = label_word(cell)
        words.append(NoLabel.UNLABELLED if is_mark(word, raw.unlabelled) else word)
    return words


def label_word(cell: Any) -> str:
    """A label cell as one plain word: a string as it is, without the spaces around it.

    Golden: ' Yes ' -> 'Yes'; '007' -> '007'; 1 -> '1'; 2.0 -> '2', as of whole numbers among
    missing ones; True -> 'true'; None and NaN -> ''.
    """
    if is_empty(cell):
        return ""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell)).lower()
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return clean_text(str(cell)).strip()


def plain_word(word: str) -> str:
    """What spellings of a class have in common: letter case, accents composed or not, `2.0` for 2.

    Golden: 'NEG' -> 'neg', '2.0' -> '2', '02' -> '02'.
    """
    whole = WHOLE_DECIMAL.fullmatch(word)
    return whole[1] if whole else unicodedata.normalize("NFC", word).casefold()


def is_mark(word: str, marks: Sequence[str]) -> bool:
    """Whether a label cell's word stands for no label, by the plain words of such marks."""
    return bool(marks) and plain_word(word) in marks


def shown(word: str) -> str:
    """A word in one line of at most 40 characters, for messages."""
    line = " ".join(word.split())
    return line if len(line) <= 40 else f"{line[:37]}..."


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: None or one of the marks of pandas for it."""
    if cell is None or type(cell).__name__ in MISSING:
        return True
    return isinstance(cell, float | np.floating) and math.isnan(cell)


def kind_of(cell: Any) -> str:
    """What a cell holds, for error messages."""
    names: tuple[tuple[Any, str], ...] = (
        (type(None), "nothing"),
        (str, "text"),
        (bool | np.bool_, "true or false"),
        (numbers.Number, "a number"),
        (dict, "an object"),
        (list | tuple | np.ndarray, "a list"),
        (bytes, "bytes"),
    )
    return next((name for kind, name in names if isinstance(cell, kind)), type(cell).__name__)


def clean_text(text: str) -> str:
    """A text with the replacement character for each lone surrogate, which no encoding can write.

    JSON escapes such as `\\ud83d` without its other half make them, and bytes on a command line.
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
