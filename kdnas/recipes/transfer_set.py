"""Transfer sets: a task's rows and more for the teacher to label."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.files.atomic import replace_file
from kdnas.recipes.augmentations import AUGMENTATIONS, Row, Sources, obstacle
from kdnas.tasks import TASK_TYPES, Examples

FILE = "transfer.jsonl.gz"
TRIES = 20
SHARES: dict[Any, float] = {
    **dict.fromkeys(AUGMENTATIONS, 1),
    "neighbours": 2,
    "replace": 2,
    "corpus": 2,
}
OWN = "own"


@dataclass(frozen=True)
class TransferSet:
    """A task's rows and others.

    Attributes:
        examples: All rows; those that are not the task's own have no label.
        methods: Where each comes from: `own`, another task's name, or an augmentation's.
    """

    examples: Examples
    methods: list[str]

    def write(
        self,
        folder: Path,
        logits: NDArray[np.float32] | None,
        units: NDArray[np.int64] | None = None,
    ) -> None:
        """Writes the rows as gzipped JSON lines, with the teacher's logits where it has any.

        Args:
            folder: Gets the file.
            logits: Shape (units, outputs).
            units: Shape (rows + 1,): the first unit of each row; None where a row is one unit.
        """
        given: list[Any] = [None] * len(self.methods)
        if logits is not None:
            parts = logits if units is None else np.split(logits, units[1:-1])
            given = [part.tolist() for part in parts]
        with replace_file(folder / FILE) as partial, gzip.open(partial, "wt") as file:
            rows = zip(rows_of(self.examples), self.methods, given, strict=True)
            for (first, second), method, row in rows:
                line = {"text": first, "text_pair": second, "method": method, "logits": row}
                file.write(json.dumps({k: v for k, v in line.items() if v is not None}) + "\n")


def make_transfer_set(
    own: Examples,
    others: dict[str, Examples],
    sources: Sources,
    shares: dict[Any, float],
    rows: int,
    seed: int,
    held_out: frozenset[str] = frozenset(),
) -> TransferSet:
    """A task's own rows, then those of other tasks, then new ones until there are enough.

    Other tasks give up to half of what is missing, in equal parts. Only own rows may repeat.

    Args:
        own: The task's training rows; none is dropped.
        others: Rows of other tasks by name; their labels are not used.
        shares: Of the augmentations by name; those that cannot be used are left out.
        rows: Rows in all.
        held_out: Texts of evaluation rows. Public data sets share sentences: a row with one of
            these is left out unless the task's own rows have it too.
    """
    rng = np.random.default_rng((seed, 1))
    first, needed = rows_of(own), max(0, rows - len(own))
    taken = set(first)
    barred = held_out.difference(text for row in first for text in row if text)
    found: dict[Row, str] = {}
    part = needed // (2 * max(1, len(others)))
    for name, examples in others.items():
        unique = dict.fromkeys(rows_of(examples))
        fresh = (row for row in unique if row not in taken and row not in found)
        texts = [row for row in fresh if not barred.intersection(row)]
        for i in rng.permutation(len(texts))[:part].tolist():
            found[texts[i]] = name
    _fill(found, sources, shares, needed, rng, taken, barred)
    return TransferSet(_followed(own, list(found)), [OWN] * len(own) + list(found.values()))


def rows_of(examples: Examples) -> list[Row]:
    """The texts of some examples."""
    second: Sequence[str | None] = examples.text_pair or [None] * len(examples)
    return list(zip(examples.text, second, strict=True))


def as_rows_like(own: Examples, others: Examples, name: str) -> Examples:
    """The texts of another task in rows of as many texts as the task's own.

    Raises:
        KdnasError: Single texts cannot become pairs.
    """
    if own.text_pair is not None and others.text_pair is None:
        raise KdnasError(
            f"transfer_tasks has {name}, whose rows have one text, not two; leave it out"
        )
    if own.text_pair is None and others.text_pair is not None:
        return Examples(list(dict.fromkeys([*others.text, *others.text_pair])))
    return others


def check_methods(shares: dict[Any, float], sources: Sources) -> None:
    """Refuses augmentations that were asked for and cannot be used.

    Raises:
        KdnasError: One of them.
    """
    for method, share in shares.items():
        why = obstacle(method, sources)
        if share and why:
            raise KdnasError(f"transfer_methods has {method}, but {why}; leave it out")


def _fill(
    found: dict[Row, str],
    sources: Sources,
    shares: dict[Any, float],
    needed: int,
    rng: np.random.Generator,
    taken: set[Row],
    barred: frozenset[str],
) -> None:
    methods = [m for m, share in shares.items() if share and not obstacle(m, sources)]
    if not methods:
        return
    weights = np.array([shares[method] for method in methods])
    for _ in range(TRIES * max(0, needed - len(found))):
        if len(found) >= needed:
            return
        method = methods[int(rng.choice(len(methods), p=weights / weights.sum()))]
        row = AUGMENTATIONS[method](sources, rng)
        if row is None or row in taken or row[0] == row[1] or barred.intersection(row):
            continue
        found.setdefault(row, method)


def _followed(own: Examples, others: list[Row]) -> Examples:
    """A task's own rows, then others without labels."""
    labels = own.labels
    if labels is not None:
        labels = TASK_TYPES[own.task_type].add_unlabelled(labels, len(others))
    second = [text or "" for _, text in others]
    pairs = None if own.text_pair is None else [*own.text_pair, *second]
    texts = [*own.text, *(text for text, _ in others)]
    return Examples(texts, pairs, labels, task_type=own.task_type)
