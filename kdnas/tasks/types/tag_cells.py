"""Cells of words and of their tags, as data for token classification have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdnas.errors import KdnasError
from kdnas.tasks.examples import (
    NoLabel,
    RawSplit,
    Spans,
    clean_text,
    is_empty,
    is_mark,
    kind_of,
    label_word,
    shown,
)
from kdnas.tasks.tagging.entities import OUTSIDE, Tags, iob1_to_iob2
from kdnas.tasks.tagging.words import joined_words, split_words
from kdnas.tasks.types.aspects.cells import Cells


class TagCells(Cells):
    """A cell has a list of words, or a text; its label, a tag for each word."""

    def read_text(self, cell: Any) -> tuple[str, Spans | None]:
        """Words, which are joined by spaces, or a text, which is split into words."""
        if isinstance(cell, str):
            return cell, split_words(cell)
        words = [] if is_empty(cell) else [clean_text(str(word)) for word in cell]
        return joined_words(words)

    def text_fault(self, cell: Any) -> str:
        if isinstance(cell, str) or is_empty(cell):
            return ""
        if not isinstance(cell, list | tuple | np.ndarray):
            return f"{kind_of(cell)} instead of a list of words"
        odd = next((i for i, word in enumerate(cell) if not isinstance(word, str)), None)
        if odd is None:
            return ""
        return f"{'no' if is_empty(cell[odd]) else f'{kind_of(cell[odd])} as'} word {odd + 1}"

    def has_text(self, cell: Any) -> bool:
        """A list has, even an empty one: a sentence without words has no entities."""
        return isinstance(cell, list | tuple | np.ndarray) or super().has_text(cell)

    def label_fault(self, cell: Any, label: Any) -> str:
        if is_empty(label) or isinstance(label, NoLabel):
            return ""
        if isinstance(cell, str):
            return "a text instead of a list of words beside its tags"
        if not isinstance(label, list | tuple | np.ndarray):
            return f"{kind_of(label)} instead of a list of tags"
        words = 0 if is_empty(cell) else len(cell)
        if len(label) != words:
            return f"{len(label)} tags for {words} words"
        odd = next((i for i, tag in enumerate(label) if not _is_tag(tag)), None)
        return "" if odd is None else f"no tag for word {odd + 1}"

    def label_cells(self, raw: RawSplit) -> list[Any]:
        """Each row's tags as plain words, or why it has none."""
        return [_tag_words(cell, raw.unlabelled) for cell in raw.cells or ()]

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """Tags in IOB1 become IOB2, where the classes are of IOB2, and train is in IOB1, too."""
        if raw.cells is None:
            return raw
        rows = self.label_cells(raw)
        changed = self._from_iob1(raw, labels or raw.classes)
        if changed is not None and raw.train is not None and raw.train.cells is not None:
            # A split with few rows may look like IOB1 by chance.
            changed = changed if self._from_iob1(raw.train, labels) is not None else None
        if changed is None:
            return replace(raw, cells=rows)
        coming = iter(changed)
        cells = [next(coming) if isinstance(row, list) else row for row in rows]
        return replace(raw, cells=cells, assumed=(*raw.assumed, "tags in IOB1, read as IOB2"))

    def asks_train(self, raw: RawSplit, labels: Sequence[str]) -> bool:
        return raw.cells is not None and self._from_iob1(raw, labels or raw.classes) is not None

    def _from_iob1(self, raw: RawSplit, classes: Sequence[str]) -> list[list[str]] | None:
        """The tags of labelled rows in IOB2; None where they are not in IOB1."""
        tags = Tags([label_word(name) for name in classes]).tags
        begun, inside = ({tag.type.casefold() for tag in tags if tag.part == p} for p in "BI")
        if classes and not (begun and inside <= begun):
            return None  # entities of some type begin with nothing but I-: that is their scheme
        return iob1_to_iob2([row for row in self.label_cells(raw) if isinstance(row, list)])

    def find_classes(self, raw: RawSplit) -> tuple[str, ...]:
        """O, and then the other tags by type; a hub data set says the order of its classes.

        Raises:
            KdnasError: There is one tag or none.
        """
        counts = Counter(
            tag for row in self.label_cells(raw) if isinstance(row, list) for tag in row
        )
        spellings: dict[str, str] = {}
        for tag, _ in counts.most_common():
            spellings.setdefault(tag.casefold(), tag)
        names = list(spellings.values())
        if len(names) < 2:
            found = f"only the tag {shown(names[0])!r}" if names else "no tag"
            raise KdnasError(f"{raw.source}: found {found}; {self.name} needs two or more")
        known = [label_word(name) for name in raw.classes]
        if {name.casefold() for name in known} >= set(spellings):
            return tuple(known)
        tags = Tags(names)

        def place(name: str) -> tuple[bool, str, int, str]:
            tag = tags.tags[names.index(name)]
            return tag.part != OUTSIDE, tag.type.casefold(), "BIES".find(tag.part), name

        return tuple(sorted(names, key=place))

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Any]:
        """Each row's tag ids, or why it has none; KdnasError for a tag that the task has not."""
        if raw.cells is None:
            return [NoLabel.UNLABELLED] * len(raw.text)
        parse, found = self.parser(labels), list[Any]()
        names = {name.casefold() for name in labels}
        for row, place in zip(self.label_cells(raw), raw.places, strict=True):
            if isinstance(row, NoLabel):
                found.append(row)
                continue
            ids = [parse(word) if raw.ids or word.casefold() in names else None for word in row]
            if None in ids:
                odd, word = row[ids.index(None)], ids.index(None) + 1
                known = ", ".join(map(shown, labels))
                where = (
                    "" if raw.ids else " (found in train; list others under `labels:` in the task)"
                )
                raise KdnasError(
                    f"{raw.source}, {raw.unit} {place}, word {word}: unknown tag {shown(odd)!r}; "
                    f"expected one of {known}{where}"
                )
            found.append(tuple(ids))
        return found


def _is_tag(tag: Any) -> bool:
    return not isinstance(tag, NoLabel | list | tuple | dict | np.ndarray) and label_word(tag) != ""


def _tag_words(cell: Any, unlabelled: Sequence[str]) -> list[str] | NoLabel:
    if isinstance(cell, NoLabel):
        return cell
    if is_empty(cell):
        return NoLabel.MISSING
    words = [label_word(tag) for tag in cell]
    return NoLabel.UNLABELLED if words and all(is_mark(w, unlabelled) for w in words) else words
