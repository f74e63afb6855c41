"""Tables: the rows of a local file, whatever its format, and the columns that a task reads."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.tasks.examples import Fault, NoLabel, RawSplit, is_empty, label_word, plain_word
from kdnas.tasks.formats.delimited import Delimited, named_width, without_padding
from kdnas.tasks.formats.endings import unpacked_suffix
from kdnas.tasks.formats.json_lines import json_records
from kdnas.tasks.formats.parquet import class_names, read_parquet
from kdnas.tasks.formats.text import read_text, refuse_sheet
from kdnas.tasks.spec import Column, TaskSpec
from kdnas.tasks.types import TaskType

_TEXTS = (".tsv", ".csv", ".jsonl", ".json")
DELIMITED = (".tsv", ".csv", ".tsv.gz", ".csv.gz")
SUFFIXES = (*_TEXTS, ".parquet", *(f"{suffix}.gz" for suffix in _TEXTS))
_SEPARATOR = re.compile(r"[,;|\t]")

Numbered = Iterator[tuple[int, list[Any]]]


@dataclass(frozen=True)
class Rows:
    """A table, read row by row."""

    source: str  # the file or hub split, as error messages name it
    header: list[str]
    cells: Numbered  # a malformed row has too few or too many
    unit: str = "row"  # what the numbers of rows count: `line` or `row`
    # By column, the names of its classes in the order of their ids, where known.
    classes: Mapping[int, list[str]] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()  # what a person should know of how the source was read
    # Rows that could not be read: the number of each, and what it has, as in `line 3 has ...`.
    faults: tuple[tuple[int, str], ...] = ()
    hint: str = ""  # what to do where a column is missing


def read_rows(
    path: Path,
    headerless: Sequence[str] = (),
    columns: Sequence[Column] = (),
    *,
    quoting: bool = True,
    encoding: str | None = None,
) -> Rows:
    """The rows of a .tsv, .csv, .jsonl, .json or .parquet file; texts may be packed (`.csv.gz`).

    Args:
        headerless: Column names for a .tsv or .csv file whose first row is no header.
        columns: A header has all of these.
        quoting: Whether the fields of a .tsv file are quoted as in CSV.
        encoding: That of files that are neither UTF-8 nor UTF-16.

    Raises:
        KdnasError: The file is empty, or not in the encoding or the format that it should be in.
    """
    refuse_sheet(path)
    suffix = unpacked_suffix(path)
    if suffix == ".parquet":
        return _parquet_rows(path)
    text = read_text(path, encoding)
    if suffix in (".jsonl", ".json"):
        records = list(json_records(path, text.content))
        # Of all records: any of them may lack a key, e.g. the label.
        header = list(dict.fromkeys(key for _, record in records for key in record))
        if not records:
            raise KdnasError(f"{path} is empty; give a file with examples")
        cells = ((n, [r.get(key) for key in header]) for n, r in records)
        return Rows(str(path), header, cells, "line", assumed=text.assumed)
    if suffix == ".tsv" and not quoting:
        rows, assumed = list(_plain_lines(text.content)), text.assumed
    else:
        table = Delimited(path, text.content, columns, len(headerless))
        rows, assumed = list(table.rows()), (*text.assumed, *table.assumed)
    if not rows:
        raise KdnasError(f"{path} is empty; give a file with a header and examples")
    header, below = [str(cell).strip() for cell in rows[0][1]], rows[1:]
    has_header = all(find_column(column, header, str(path)) is not None for column in columns)
    # Two rows, because the first one of a headerless file may be bad.
    if not has_header and any(len(cells) == len(headerless) for _, cells in rows[:2]):
        header, below = list(headerless), rows
    if suffix == ".csv" or quoting:
        below, left_out = without_padding(below, len(header), named_width(header))
        assumed = (*assumed, *left_out)
    return Rows(str(path), header, iter(below), "line", assumed=assumed)


def read_table(path: Path, columns: Sequence[Column], spec: TaskSpec | None) -> Rows:
    """The rows of a file of a task, which may be none that is known.

    Where the task names the columns of files without a header, a file may lack those of labels.

    Args:
        path: As `read_rows` takes it.
        columns: Those that it has.
        spec: The task.

    Raises:
        KdnasError: As of `read_rows`.
    """
    quoting, encoding = (True, None) if spec is None else (spec.quoting, spec.encoding)

    def read(headerless: Sequence[str] = ()) -> Rows:
        return read_rows(path, headerless, columns, quoting=quoting, encoding=encoding)

    def has_columns(rows: Rows) -> bool:
        return all(find_column(column, rows.header, rows.source) is not None for column in columns)

    if spec is None or not spec.headerless:
        return read()
    table = read(spec.headerless)
    if has_columns(table):
        return table
    labels = {name for column in spec.label for name in column.headers}
    bare = read([name for name in spec.headerless if name not in labels])
    return bare if has_columns(bare) else table


def _parquet_rows(path: Path) -> Rows:
    """Ids of classes become the names that the file has for them, as those of the hub's sets do."""
    frame, names = read_parquet(path), class_names(path)
    header = [str(name) for name in frame.columns]
    columns = (
        named_cells(frame.iloc[:, at].tolist(), names.get(name)) for at, name in enumerate(header)
    )
    return Rows(
        str(path),
        header,
        numbered(zip(*columns, strict=True)),
        classes={at: names[name] for at, name in enumerate(header) if name in names},
        assumed=tuple(
            f"ids under {name!r} are those of the classes that the file names"
            for name in header
            if name in names
        ),
    )


def named_cells(cells: Iterable[Any], names: Sequence[str] | None) -> list[Any]:
    """Cells of a column, where it holds ids of classes (-1: no label) with the classes' names.

    A cell may hold a list of ids.
    """
    return [_class_name(cell, names) for cell in cells] if names else list(cells)


def _class_name(cell: Any, names: Sequence[str]) -> Any:
    if isinstance(cell, list | tuple | np.ndarray):
        return [_class_name(one, names) for one in cell]
    # Where some are missing, pandas has floats.
    if not isinstance(cell, numbers.Real) or not float(cell).is_integer():
        return cell
    at = int(float(cell))
    return NoLabel.UNLABELLED if at == -1 else names[at] if 0 <= at < len(names) else cell


def numbered(rows: Iterable[Sequence[Any]]) -> Numbered:
    """Rows as lists, with their numbers from 1 on."""
    return ((n, list(row)) for n, row in enumerate(rows, start=1))


def _plain_lines(text: str) -> Numbered:
    # Quotes are ordinary characters here, and only a newline ends a line: str.splitlines would
    # also break at the rarer separators that occur inside sentences.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip("\r"):
            yield number, list(line.removesuffix("\r").split("\t"))


def find_column(column: Column, header: Sequence[str], source: str = "the table") -> int | None:
    """Index of the column in the header, letter case aside where need be; None: it is not there.

    Raises:
        KdnasError: The header has it twice.
    """
    for names in (list(header), [name.casefold() for name in header]):
        for accepted in column.headers:
            for wanted in (accepted, accepted.casefold()):
                if names.count(wanted) > 1:
                    raise KdnasError(
                        f"{source} has the column {wanted!r} {names.count(wanted)} times; rename "
                        "or remove one"
                    )
                if wanted in names:
                    return names.index(wanted)
    return None


def unnested(rows: Rows, columns: Sequence[Column]) -> Rows:
    """A table whose columns stand in objects of another, as columns of their own.

    So do those of the hub's sets for translation: `{"translation": {"en": "...", "de": "..."}}`.
    Where all columns are there, the table is as it was.
    """
    missing = [c for c in columns if find_column(c, rows.header, rows.source) is None]
    if not missing:
        return rows
    cells = list(rows.cells)
    keys = names_within(rows.header, (row for _, row in cells))

    def holds(names: list[str]) -> bool:
        return any(find_column(column, names) is not None for column in missing)

    found = next((at for at, names in enumerate(keys) if holds(names)), None)
    if found is None:
        return replace(rows, cells=iter(cells))

    def spread(row: list[Any]) -> list[Any]:
        if len(row) != len(rows.header):
            return row
        held = row[found] if isinstance(row[found], dict) else {}
        return [*row, *(held.get(key) for key in keys[found])]

    wide = ((number, spread(row)) for number, row in cells)
    return replace(rows, header=[*rows.header, *keys[found]], cells=wide)


def names_within(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[list[str]]:
    """Of each column of a table, the keys of the objects among its cells."""
    whole = [row for row in rows if len(row) == len(header)]
    columns = ((row[at] for row in whole) for at in range(len(header)))
    return [
        list(dict.fromkeys(key for cell in cells if isinstance(cell, dict) for key in cell))
        for cells in columns
    ]


def select_columns(rows: Rows, spec: TaskSpec, split: str) -> RawSplit:
    """A task's columns of a split's table, without the rows that lack a text or are malformed.

    A test row without a text stays, because it needs a prediction.

    Raises:
        KdnasError: A column is missing (of a test split, a text column; of the training split also
            one of groups or ids that the task names itself), or the table has no row.
    """
    needs_labels = split not in spec.test_splits
    rows = unnested(rows, (*spec.text, *spec.label))
    label = _label_columns(rows, spec)
    columns = (*spec.text, *label)
    needed = columns if needs_labels else spec.text
    needed = (*needed, *spec.own_columns) if split == "train" else needed
    places = _places(rows, (*columns, *spec.own_columns), needed)
    texts = [at for column in spec.text if (at := places[column]) is not None]
    labels = {c.name: at for c in label if (at := places[c]) is not None}
    kind, label_of = spec.task_type, _label_reader(labels, len(label))
    group = find_column(spec.group, rows.header, rows.source) if spec.group else None
    key = find_column(spec.id, rows.header, rows.source) if spec.id else None

    def fault_of(cells: list[Any]) -> str:
        fault = _fault(kind, cells, rows.header, texts, needs_text=needs_labels)
        if fault or label_of is None:
            return fault
        return kind.label_fault(cells[texts[0]], label_of(cells))

    kept, faults, left_out = _without_faults(rows, fault_of, key)
    read = [[kind.read_text(cells[i]) for _, cells in kept] for i in texts]
    said = [[text for text, _ in column] for column in read]
    words = [spans for _, spans in read[0] if spans is not None]
    return RawSplit(
        source=rows.source,
        text=said[0],
        text_pair=said[1] if len(said) == 2 else None,
        cells=None if label_of is None else _labels(rows, kind, label, label_of, kept),
        places=[number for number, _ in kept],
        unit=rows.unit,
        faults=faults,
        classes=tuple(rows.classes.get(next(iter(labels.values())), ())) if labels else (),
        unlabelled=tuple(map(plain_word, spec.unlabelled)),
        separator=spec.separator,
        assumed=rows.assumed,
        words=words if len(words) == len(kept) and words else None,
        groups=None if group is None else [label_word(cells[group]) for _, cells in kept],
        row_ids=None if key is None else [label_word(cells[key]) for _, cells in kept],
        left_out=left_out,
    )


def _places(
    rows: Rows, columns: Iterable[Column], required: Iterable[Column]
) -> dict[Column, int | None]:
    """Where columns stand in a table; None where they are not there and need not be."""
    places = {column: find_column(column, rows.header, rows.source) for column in columns}
    missing = [column for column in required if places[column] is None]
    if not missing:
        return places
    names = ", ".join(" or ".join(map(repr, column.headers)) for column in missing)
    found = ", ".join(repr(n if len(n) <= 40 else f"{n[:37]}...") for n in rows.header if n)
    hint = rows.hint and f"; {rows.hint}"
    if len(rows.header) == 1 and _SEPARATOR.search(rows.header[0]):
        hint = "; separate the fields of all rows by the same: commas, semicolons or tabs"
    raise KdnasError(f"{rows.source} lacks the column {names}; found {found or 'none'}{hint}")


def _without_faults(
    rows: Rows, fault_of: Callable[[list[Any]], str], key: int | None
) -> tuple[list[tuple[int, list[Any]]], tuple[Fault, ...], frozenset[str]]:
    """The sound rows with their numbers, each fault with its first row, and the others' ids.

    Raises:
        KdnasError: There are no rows at all.
    """
    kept: list[tuple[int, list[Any]]] = []
    faulty: dict[str, list[tuple[int, str]]] = {}
    left_out = set[str]()
    for number, fault in rows.faults:
        faulty.setdefault(fault, []).append((number, ""))
    for number, cells in rows.cells:
        if fault := fault_of(cells):
            named = key is not None and len(cells) == len(rows.header) and label_word(cells[key])
            left_out |= {named} if named else set()
            faulty.setdefault(fault, []).append((number, f"id {named}" if named else ""))
        else:
            kept.append((number, cells))
    if not kept and not faulty:
        raise KdnasError(f"{rows.source} is empty: it has a header and no {rows.unit} below it")
    found = tuple(Fault(reason, len(at), *at[0]) for reason, at in faulty.items())
    return kept, found, frozenset(left_out)


def _label_columns(rows: Rows, spec: TaskSpec) -> tuple[Column, ...]:
    """The task's; one that a table lacks also goes by the name of the first that stands for it."""
    found = list[Column]()
    for column in spec.label:
        there = find_column(column, rows.header, rows.source) is not None
        others = () if there else spec.task_type.in_place_of(rows.header, column.headers)[:1]
        found.append(column.model_copy(update={"aliases": (*column.aliases, *others)}))
    return tuple(found)


def _labels(
    rows: Rows,
    kind: TaskType,
    label: Iterable[Column],
    label_of: Callable[[list[Any]], Any],
    kept: Iterable[tuple[int, list[Any]]],
) -> list[Any]:
    """The label cells of some rows, with what their type reads beside them."""
    headers = [name for column in label for name in column.headers]
    beside = {
        name: at
        for name in kind.beside(rows.header, headers)
        if (at := find_column(Column(name=name), rows.header, rows.source)) is not None
    }
    return [
        kind.label_cell(label_of(cells), {name: cells[at] for name, at in beside.items()})
        for _, cells in kept
    ]


def _label_reader(places: Mapping[str, int], columns: int) -> Callable[[list[Any]], Any] | None:
    """Gives the label cell of a row, of several columns their cells by name; None without one."""
    if len(places) < columns:
        return None
    if columns == 1:
        [place] = places.values()
        return lambda cells: cells[place]
    return lambda cells: {
        name: NoLabel.MISSING if is_empty(cells[at]) else cells[at] for name, at in places.items()
    }


def _fault(
    kind: TaskType, cells: list[Any], header: list[str], texts: list[int], *, needs_text: bool
) -> str:
    """What a row has that makes it useless, as in `line 3 has ...`; nothing where it is sound."""
    if len(cells) != len(header):
        return f"{several(len(cells), 'field')} instead of {len(header)}"
    for i in texts:
        if fault := kind.text_fault(cells[i]):
            return f"{fault} under {header[i]!r}"
        if needs_text and not kind.has_text(cells[i]):
            return f"no text under {header[i]!r}"
    return ""
