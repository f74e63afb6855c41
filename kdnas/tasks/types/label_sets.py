"""Label cells as sets of labels, as data for multi-label classification have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kdnas.errors import KdnasError
from kdnas.tasks.examples import WHOLE, Label, NoLabel, RawSplit, plain_word, shown
from kdnas.tasks.types.aspects.cells import Cells
from kdnas.tasks.types.classification import class_names, in_order
from kdnas.tasks.types.label_cells import label_lists, with_words
from kdnas.tasks.types.values import MARKS

_MANY = 20


class LabelSets(Cells):
    """A label cell has any of several labels, or none."""

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """Cells as tuples of words, whatever they were: columns of 0 and 1, lists, joined words."""
        return with_words(raw, labels)

    def asks_train(self, raw: RawSplit, labels: Sequence[str]) -> bool:
        """Lists in few rows may look like ids or like 0 and 1 by chance."""
        return bool(label_lists(raw))

    def label_cells(self, raw: RawSplit) -> list[Any]:
        return raw.cells or []

    def find_classes(self, raw: RawSplit) -> tuple[str, ...]:
        """The different words of the cells, as in classification.

        Raises:
            KdnasError: There are fewer than two, or nearly as many as rows.
        """
        cells = [cell for cell in raw.cells or () if isinstance(cell, tuple)]
        names = class_names([word for cell in cells for word in cell])
        if len(names) > _MANY and 2 * len(names) > len(cells):
            raise KdnasError(
                f"{raw.source}: found {len(names)} different labels in {len(cells)} rows, such as "
                f"{shown(names[0])!r}; name what stands between the labels of a row with "
                "`separator:` in the task, or list the classes under `labels:`"
            )
        known = in_order(names, raw.classes)
        if len(known) < 2:
            found = f"only the label {shown(known[0])!r}" if known else "no label"
            raise KdnasError(f"{raw.source}: found {found}; multi-label needs two or more")
        return known

    def parser(self, labels: Sequence[str]) -> Callable[[str], Label | None]:
        """Class names, letter case aside, or ids; where names are numbers, a number is a name."""
        ids = {plain_word(label): i for i, label in enumerate(labels)}
        numbered = any(map(WHOLE.fullmatch, ids))

        def parse(word: str) -> Label | None:
            name = plain_word(word)
            if name in ids or numbered or not (name.isascii() and name.isdecimal()):
                return ids.get(name)
            return int(name) if int(name[:9]) < len(labels) and len(name) < 9 else None

        return parse

    def expected(self, labels: Sequence[str]) -> str:
        ids = "" if any(map(WHOLE.fullmatch, labels)) else f", or ids from 0 to {len(labels) - 1}"
        return f"some of {', '.join(map(shown, labels))}{ids}"

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        """Each row's labels, as 0 or 1 for each class; KdnasError for one unknown or twice."""
        if raw.cells is None:
            return [NoLabel.UNLABELLED] * len(raw.text)
        parse, names = self.parser(labels), {plain_word(label) for label in labels}
        known: dict[Any, Label] = {}
        for cell, place in zip(raw.cells, raw.places, strict=True):
            if cell in known:
                continue
            if isinstance(cell, NoLabel):
                known[cell] = cell
                continue
            row, where = [0] * len(labels), f"{raw.source}, {raw.unit} {place}"
            for word in cell:
                found = parse(word) if raw.ids or plain_word(word) in names else None
                if not isinstance(found, int):
                    raise KdnasError(f"{where}: {self._unknown(word, raw, labels)}")
                if row[found]:
                    raise KdnasError(
                        f"{where}: the label {shown(labels[found])!r} stands there twice; give "
                        "each label of a row once"
                    )
                row[found] = 1
            known[cell] = tuple(row)
        return [known[cell] for cell in raw.cells]

    def _unknown(self, word: str, raw: RawSplit, labels: Sequence[str]) -> str:
        told = f"invalid label {shown(word)!r}; expected "
        if not raw.ids:
            names = ", ".join(map(shown, labels))
            return (
                f"{told}some of {names} (found in train; list others under `labels:` in the task)"
            )
        mark = f"; if {word!r} stands for none, set `unlabelled: {word!r}` in the task"
        return f"{told}{self.expected(labels)}{mark if word in MARKS else ''}"
