"""The texts that `kdnas predict` labels: from arguments, files and standard input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.shown import quoted
from kdnas.tasks.examples import Spans, clean_text, is_empty, shown
from kdnas.tasks.formats.endings import ending_of
from kdnas.tasks.formats.files import read_texts
from kdnas.tasks.formats.tables import (
    DELIMITED,
    SUFFIXES,
    Rows,
    find_column,
    names_within,
    read_table,
    unnested,
)
from kdnas.tasks.formats.text import bytes_of_lines, count_lines, refuse_sheet, tell, text_lines
from kdnas.tasks.registry import DEFAULT_TASK, load_spec
from kdnas.tasks.spec import Column, TaskSpec
from kdnas.tasks.types import DEFAULT_TYPE, TASK_TYPES, TaskType

# Where neither an option nor the task names a column, these are looked for.
TEXT = Column(name="text", aliases=("sentence", "sentence1", "text_a", "premise", "question1"))
PLAIN = TASK_TYPES[DEFAULT_TYPE]
PAIR = Column(name="text_pair", aliases=("sentence2", "text_b", "hypothesis", "question2"))
MOST_NAMES = 10  # of an object, in a message
ID = Column(name="id", aliases=("idx", "index"))


@dataclass(frozen=True)
class Row:
    """A text to label, or a pair of texts, and its id where the file has one.

    `words` are where its words are, where the task's type reads words.
    """

    text: str
    text_pair: str | None = None
    id: Any = None
    words: Spans | None = None


def rows_of(
    texts: Sequence[Any], pairs: Sequence[str] | None = None, kind: TaskType = PLAIN
) -> list[Row]:
    """Texts with, where given, second texts; KdnasError where their numbers differ.

    A text is a string, or what else the task's type reads: a list of words.
    """
    if pairs is None or not len(pairs):  # an array or a column of pandas has no truth value
        _refuse_faults(kind, texts)
        return [_row(kind, text) for text in texts]
    if len(pairs) != len(texts):
        raise KdnasError(
            f"{len(texts)} text(s) but {len(pairs)} second text(s); give one --text-pair a text"
        )
    _refuse_faults(PLAIN, (*texts, *pairs))
    both = zip(texts, pairs, strict=True)
    return [Row(_row(PLAIN, text).text, _row(PLAIN, pair).text) for text, pair in both]


def _refuse_faults(kind: TaskType, cells: Iterable[Any]) -> None:
    for cell in cells:
        if fault := kind.text_fault(cell):
            raise KdnasError(f"cannot label {fault}")


def _row(kind: TaskType, cell: Any, second: str | None = None, identity: Any = None) -> Row:
    """A row of a cell that has no fault."""
    text, words = kind.read_text(cell if is_empty(cell) else _clean(cell))
    return Row(text, second, identity, words)


def _clean(cell: Any) -> Any:
    return clean_text(cell) if isinstance(cell, str) else [clean_text(str(word)) for word in cell]


def read_file(
    path: Path,
    spec: TaskSpec | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    kind: TaskType = PLAIN,
) -> tuple[Iterator[Row], int]:
    """The rows of a file, and how many they are.

    A .csv, .tsv, .jsonl, .json or .parquet file is a table whose first row names its columns unless
    the task does, with or without the label; a file in another format of the model's task is read
    as its data are, but for labels in other files; any other file has one text a line, or for a
    task on pairs two with a tab between them. Files whose name ends in .gz are unpacked.

    Args:
        spec: The model's task: its text columns are taken.
        text_column: The column to take instead.
        pair_column: The column of second texts.
        kind: What the model does.

    Raises:
        KdnasError: The file cannot be read, or has no text column.
    """
    if not path.is_file():
        raise KdnasError(f"invalid --file {path}: no such file")
    for option, name in (("--text-column", text_column), ("--pair-column", pair_column)):
        if name is not None and not name.strip():
            raise KdnasError(f"invalid {option} {quoted(name)}: expected the name of a column")
    refuse_sheet(path)
    spec = spec or usual_task(kind)
    own, paired = spec.text if spec else (), is_paired(spec)
    if spec is not None and (rows := read_texts(path, spec)) is not None:
        return _in_format(rows, spec, kind)
    if not ending_of(path, SUFFIXES):
        return read_lines(bytes_of_lines(path), str(path), spec), count_lines(path)
    columns = (*own[:1], TEXT)
    wanted = _any_of(*([Column(name=text_column)] if text_column else columns))
    table = read_table(path, [wanted], spec)
    tell(table.source, table.assumed)
    first = (Column(name=text_column),) if text_column else own[:1]
    second = (Column(name=pair_column),) if pair_column else own[1:]
    table = unnested(table, (*first, *second))
    text, pair = _find(table, text_column, *columns), None
    if text is None and sum(map(bool, table.header)) == 1 and not text_column:
        text = next(at for at, name in enumerate(table.header) if name)
        if ending_of(path, DELIMITED):
            name = shown(table.header[text])
            say(f"{table.source}: its first line, {name!r}, is read as the name of the column")
    if pair_column or spec is None or paired:
        pair = _find(table, pair_column, *own[1:], PAIR)
    if text is None:
        raise _no_column(table, text_column, "text", "--text-column")
    if pair is None and (pair_column or paired):
        raise _no_column(table, pair_column, "second text", "--pair-column")
    cells = list(table.cells)
    key = find_column(ID, table.header, table.source)
    return _rows(table, cells, kind, text, pair, key), len(cells)


def read_lines(lines: Iterable[bytes], source: str, spec: TaskSpec | None = None) -> Iterator[Row]:
    """One text a line, or two with a tab between them; KdnasError names the place of a bad one."""
    found = text_lines(lines, source, spec.encoding if spec else None)
    for number, text in enumerate(found, start=1):
        if not is_paired(spec):
            yield Row(text)
            continue
        first, tab, second = text.partition("\t")
        if not tab:
            raise KdnasError(f"{source}, line {number}: expected two texts with a tab between them")
        yield Row(first, second)


def is_paired(spec: TaskSpec | None) -> bool:
    """Whether a task is known to read pairs of texts."""
    return spec is not None and len(spec.text) > 1


def texts_of_row(spec: TaskSpec | None, kind: TaskType) -> int | None:
    """How many texts a row has for a model of this type; None where that is not known."""
    if spec is not None:
        return len(spec.text)
    return kind.least_texts if kind.least_texts == kind.most_texts else None


def task_of(settings: Settings | None) -> TaskSpec | None:
    """The task of a run; None where the YAML file that defines it has moved, or there is no run."""
    if settings is not None:
        with suppress(KdnasError):
            return load_spec(settings.task or DEFAULT_TASK, settings.tasks)
    return None


def usual_task(kind: TaskType) -> TaskSpec | None:
    """A task of this type with its usual columns, where it has such."""
    if "text" not in kind.entry_defaults:
        return None
    return TaskSpec.model_validate({"name": kind.name, "type": kind.name})


def _in_format(table: Rows, spec: TaskSpec, kind: TaskType) -> tuple[Iterator[Row], int]:
    """The rows of a file of a task's own format."""
    tell(table.source, table.assumed)
    for number, fault in table.faults:
        raise KdnasError(f"{table.source}, {table.unit} {number}: has {fault}")
    places = [find_column(column, table.header, table.source) for column in spec.text]
    for column, place in zip(spec.text, places, strict=True):
        if place is None:
            raise _no_column(table, column.name, "text", "the task's")
    cells, key = list(table.cells), find_column(ID, table.header, table.source)
    text, pair = (places[0] or 0), (places[1] if len(places) > 1 else None)
    return _rows(table, cells, kind, text, pair, key), len(cells)


def _rows(
    table: Rows,
    cells: list[tuple[int, list[Any]]],
    kind: TaskType,
    text: int,
    pair: int | None,
    key: int | None,
) -> Iterator[Row]:
    for number, row in cells:
        if len(row) != len(table.header):
            raise KdnasError(
                f"{table.source}, {table.unit} {number}: has {len(row)} fields instead of "
                f"{len(table.header)}"
            )
        for place in (text,) if pair is None else (text, pair):
            if fault := kind.text_fault(row[place]):
                option = "--text-column" if place == text else "--pair-column"
                raise KdnasError(
                    f"{table.source}, {table.unit} {number}: has {fault} under "
                    f"{table.header[place]!r}{_instead(row[place], option)}"
                )
        second = None if pair is None else kind.read_text(row[pair])[0]
        yield _row(kind, row[text], second, None if key is None else _identity(row[key]))


def _identity(cell: Any) -> Any:
    """An id as JSON can say it: none for an empty cell, and for what is no finite number."""
    if is_empty(cell) or not isinstance(cell, float | list | dict):
        return None if is_empty(cell) else cell
    return json.loads(json.dumps(cell, default=str), parse_constant=lambda _: None)


def _any_of(*columns: Column) -> Column:
    """A column that goes by the names of several."""
    names = [name for column in columns for name in column.headers]
    return Column(name=names[0], aliases=tuple(names[1:]))


def _find(table: Rows, named: str | None, *columns: Column) -> int | None:
    wanted = (Column(name=named),) if named else columns
    places = (find_column(column, table.header, table.source) for column in wanted)
    return next((place for place in places if place is not None), None)


def _no_column(table: Rows, named: str | None, what: str, option: str) -> KdnasError:
    within = names_within(table.header, (row for _, row in table.cells))
    found = ", ".join(
        f"{_listed([name])} (with {_listed(keys)})" if keys else _listed([name])
        for name, keys in zip(table.header, within, strict=True)
    )
    if named:
        return KdnasError(f"{table.source} has no column {named!r} ({option}); found {found}")
    return KdnasError(f"{table.source} has no {what} column; found {found}; name it with {option}")


def _instead(cell: Any, option: str) -> str:
    """What to give where a cell is an object: one of the names in it."""
    names = list(cell) if isinstance(cell, dict) else []
    return f"; name what is in it with {option}: {_listed(names)}" if names else ""


def _listed(names: Sequence[str]) -> str:
    """The first of some names, in quotes."""
    more = [f"{len(names) - MOST_NAMES:,} more"] if len(names) > MOST_NAMES else []
    return ", ".join([*(repr(name[:40]) for name in names[:MOST_NAMES]), *more])
