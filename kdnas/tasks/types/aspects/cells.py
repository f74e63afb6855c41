"""How a kind of task reads the raw cells of data: texts and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import (
    Label,
    NoLabel,
    RawSplit,
    Spans,
    is_empty,
    kind_of,
    label_words,
    shown,
)
from kdnas.tasks.types.aspects.facts import Facts
from kdnas.tasks.types.metric import Array
from kdnas.tasks.types.values import MARKS


class Cells(Facts):
    """Texts and labels as files and data sets hold them, and how often each label occurs."""

    def read_text(self, cell: Any) -> tuple[str, Spans | None]:
        """A cell's text, empty where it has none, and for types on words where its words are."""
        return (cell if isinstance(cell, str) else ""), None

    def text_fault(self, cell: Any) -> str:
        """What a cell holds instead of text, as in `a number instead of text`; else nothing."""
        sound = isinstance(cell, str) or is_empty(cell)
        return "" if sound else f"{kind_of(cell)} instead of text"

    def has_text(self, cell: Any) -> bool:
        """Whether a cell holds something to learn from or to score."""
        return bool(self.read_text(cell)[0].strip())

    def label_fault(self, cell: Any, label: Any) -> str:
        """What is wrong with a row's label cell beside its text, as in `2 tags for 3 words`."""
        return ""

    def find_classes(self, raw: RawSplit) -> tuple[str, ...]:
        """The class names in a training split whose task lists none; KdnasError without classes."""
        raise NotImplementedError

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """A split as read, its label cells as `parser` takes them; by default as they are.

        What was assumed of them is added to `assumed`. `labels` are empty where they are not known
        yet: of the training split of a task that lists none.
        """
        return raw

    def asks_train(self, raw: RawSplit, labels: Sequence[str]) -> bool:
        """Whether the cells of `raw.train` settle how those of this split are to be read."""
        return False

    def parser(self, labels: Sequence[str]) -> Callable[[str], Label | None]:
        """Gives the id or score that a label cell, as a word, stands for; None where for none."""
        raise NotImplementedError

    def expected(self, labels: Sequence[str]) -> str:
        """What a label cell may hold, for error messages."""
        raise NotImplementedError

    def label_cell(self, cell: Any, beside: Mapping[str, Any]) -> Any:
        """A row's label cell, completed from the columns of `beside_label` that the row has."""
        return cell

    def beside(self, header: Sequence[str], label: Sequence[str]) -> list[str]:
        """Columns of a table that `label_cell` reads beside those of labels, where it has them."""
        return list(self.beside_label)

    def in_place_of(self, header: Sequence[str], label: Sequence[str]) -> Sequence[str]:
        """Columns of a table that may stand for one of labels that it lacks, the best one first."""
        return ()

    def label_cells(self, raw: RawSplit) -> list[Any]:
        """Each label cell as it is compared, or why a row has no label: by default a plain word."""
        return [NoLabel.MISSING if word == "" else word for word in label_words(raw)]

    def label_array(self, values: Sequence[Any]) -> Array:
        """Parsed labels as `Examples` holds them."""
        return np.array(values, dtype=self.label_dtype)

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        """Each row's id or score, or why it has none; KdnasError where a cell holds neither."""
        if raw.cells is None:
            return [NoLabel.UNLABELLED] * len(raw.text)
        parse, known = self.parser(labels), dict[str | NoLabel, Label]()
        words = label_words(raw)
        for word, place in zip(words, raw.places, strict=True):
            if word not in known:
                value = word if isinstance(word, NoLabel) else parse(word)
                if value is None:
                    mark = f"; if {word!r} stands for none, set `unlabelled: {word!r}` in the task"
                    raise KdnasError(
                        f"{raw.source}, {raw.unit} {place}: invalid label {shown(str(word))!r}; "
                        f"expected {self.expected(labels)}{mark if word in MARKS else ''}"
                    )
                known[word] = value
        return [known[word] for word in words]

    def label_notes(self, raw: RawSplit, labels: Sequence[Label]) -> Iterator[str]:
        """What a person should know of how the rows' labels were parsed; by default nothing."""
        yield from ()

    def class_counts(self, labels: Array, classes: int) -> NDArray[np.int64] | None:
        """Shape (classes,): rows that have each class; None where that cannot be counted."""
        return None

    def label_range(self, labels: Array) -> tuple[float, float] | None:
        """The lowest and the highest label; None where labels are no numbers."""
        return None

    def label_counts(self, data: EncodedExamples, labels: Sequence[str]) -> dict[str, int]:
        """How often each label occurs, by the name that people see; empty for numbers."""
        counts = None
        if data.labels is not None and len(data.labels):
            counts = self.class_counts(data.labels, self.num_outputs(labels))
        return {} if counts is None else dict(zip(labels, counts.tolist(), strict=True))
