"""Files with a black-box teacher's predictions: their rows, each with its texts or its id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdnas.errors import KdnasError
from kdnas.tasks.examples import Key, is_empty, key_of, label_word
from kdnas.tasks.formats.tables import Rows, find_column, read_rows
from kdnas.tasks.spec import Column, TaskSpec

SUFFIXES = (".jsonl", ".json", ".parquet")
# What `kdnas predict` calls texts, beside the names of the task's own columns.
TEXTS = ("text", "text_pair")
ID, SPLIT = Column(name="id", aliases=("idx", "index")), Column(name="split")


@dataclass(frozen=True)
class PredictedRow:
    """One row of a file."""

    where: str  # as messages begin
    texts: tuple[Any, ...]  # its text cells; empty where it has none
    key: Key  # likewise
    id: str
    split: str
    cells: dict[str, Any]  # what it says, by column


def check_file(path: Path) -> None:
    """Raises KdnasError unless a file is .jsonl or .json, also gzipped, or .parquet."""
    if not path.is_file():
        raise KdnasError(f"invalid --teacher-predictions {path}: no such file")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in SUFFIXES:
        raise KdnasError(
            f"invalid --teacher-predictions {path}: expected a file that ends in .jsonl, .json "
            "(each also with .gz) or .parquet"
        )


def open_predictions(path: Path) -> Rows:
    """The table in a file; KdnasError where it cannot be read."""
    check_file(path)
    return read_rows(path)


def predicted_rows(table: Rows, spec: TaskSpec) -> Iterator[PredictedRow]:
    """The rows of a file; KdnasError where it lacks columns, or a row lacks what it needs."""
    columns, kind = _columns(table, spec), spec.task_type
    for number, cells in table.cells:
        where = f"{table.source}, {table.unit} {number}"
        texts = {name: None if at is None else cells[at] for name, at in columns.texts.items()}
        for column, cell in texts.items():
            if fault := kind.text_fault(cell):
                raise KdnasError(f"{where}: has {fault} under {column!r}")
        whole = all(map(kind.has_text, texts.values()))
        name = "" if columns.id is None else label_word(cells[columns.id])
        if not (whole or name):
            raise KdnasError(f"{where}: has no text and no id; give one of them")
        says = {k: cells[at] for k, at in columns.says.items() if not _is_nothing(cells[at])}
        if not says:
            raise KdnasError(f"{where}: has no prediction; give one of {', '.join(columns.says)}")
        given = tuple(texts.values()) if whole else ()
        split = "" if columns.split is None else label_word(cells[columns.split])
        key = key_of([kind.read_text(cell)[0] for cell in given])
        yield PredictedRow(where, given, key, name, split, says)


class _Columns(NamedTuple):
    """Where columns are in a table, by name; None for one that is not there."""

    texts: dict[str, int | None]
    id: int | None
    split: int | None
    says: dict[str, int]


def _columns(table: Rows, spec: TaskSpec) -> _Columns:
    """KdnasError where a file has neither texts nor ids, or no prediction."""
    source, wanted = table.source, spec.task_type.prediction_columns
    pairs = zip(spec.text, TEXTS, strict=False)
    named = [Column(name=own.name, aliases=(*own.aliases, usual)) for own, usual in pairs]
    texts = {column.name: find_column(column, table.header, source) for column in named}
    ids = [find_column(one, table.header, source) for one in (*([spec.id] if spec.id else ()), ID)]
    places = {name: find_column(Column(name=name), table.header, source) for name in wanted}
    says = {name: at for name, at in places.items() if at is not None}
    if not says:
        raise KdnasError(
            f"{source} has none of the columns {', '.join(wanted)}; give one with what the teacher "
            f"says, for {spec.task_type.name}"
        )
    key = next((at for at in ids if at is not None), None)
    if key is None and None in texts.values():
        lacking = next(column for column in named if texts[column.name] is None)
        names = " or ".join(map(repr, lacking.headers))
        raise KdnasError(f"{source} lacks the column {names}; give each row its text, or its id")
    return _Columns(texts, key, find_column(SPLIT, table.header, source), says)


def _is_nothing(cell: Any) -> bool:
    return not isinstance(cell, list | tuple | dict | np.ndarray) and is_empty(cell)
