"""Tables: the rows of a local file, whatever its format, and the columns that a task reads."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.tasks.examples import Fault, RawSplit, is_empty, kind_of
from kdnas.tasks.formats.json_lines import json_records
from kdnas.tasks.spec import Column, TaskSpec

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet")

# Characters of a CSV field; a field may hold a whole document.
LONGEST_FIELD = 2**31 - 1
_SEPARATOR = re.compile(r"[,;|\t]")
_CONVERT = "convert it, e.g. iconv -f utf-16 -t utf-8"
# What the first bytes say of a file that is no text.
_MARKS = {
    b"\xff\xfe": f"is UTF-16; {_CONVERT}",
    b"\xfe\xff": f"is UTF-16; {_CONVERT}",
    b"\x1f\x8b": "is packed with gzip; unpack it",
    b"PK\x03\x04": "is a zip archive or an Excel file; save the table as CSV",
    b"PAR1": "is a Parquet file; give it the ending .parquet",
}

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


def read_rows(
    path: Path,
    headerless: Sequence[str] = (),
    columns: Sequence[Column] = (),
    *,
    quoting: bool = True,
) -> Rows:
    """The rows of a .tsv, .csv, .jsonl, .json or .parquet file.

    Args:
        headerless: Column names for a .tsv or .csv file whose first row is no header.
        columns: A header has all of these.
        quoting: Whether the fields of a .tsv file are quoted as in CSV.

    Raises:
        KdnasError: The file is empty, not UTF-8, or not in the format of its suffix.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        frame = read_parquet(path)
        cells = zip(*(frame[name].tolist() for name in frame.columns), strict=True)
        return Rows(str(path), [str(name) for name in frame.columns], numbered(cells))
    text = read_text(path)
    if suffix in (".jsonl", ".json"):
        records = list(json_records(path, text))
        # Of all records: any of them may lack a key, e.g. the label.
        header = list(dict.fromkeys(key for _, record in records for key in record))
        if not records:
            raise KdnasError(f"{path} is empty; give a file with examples")
        return Rows(
            str(path), header, ((n, [r.get(key) for key in header]) for n, r in records), "line"
        )
    plain = suffix == ".tsv" and not quoting
    lines = _plain_lines(text) if plain else _quoted_lines(path, text)
    first = list(islice(lines, 2))  # two, because the first row of a headerless file may be bad
    rows, header = chain(first, lines), [str(cell).strip() for cell in first[0][1]]
    if not first:
        raise KdnasError(f"{path} is empty; give a file with a header and examples")
    has_header = all(find_column(column, header, str(path)) is not None for column in columns)
    if not has_header and any(len(cells) == len(headerless) for _, cells in first):
        return Rows(str(path), list(headerless), rows, "line")
    return Rows(str(path), header, islice(rows, 1, None), "line")


def numbered(rows: Iterable[Sequence[Any]]) -> Numbered:
    """Rows as lists, with their numbers from 1 on."""
    return ((n, list(row)) for n, row in enumerate(rows, start=1))


def read_text(path: Path) -> str:
    """A file's text, unpacked, without a byte-order mark; KdnasError where it is not UTF-8."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise KdnasError(f"cannot read {path}: {error}") from None
    if problem := _other_format(raw):
        raise KdnasError(f"{path} {problem}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise KdnasError(
            f"{path} is not UTF-8: byte 0x{raw[error.start]:02x} in line {line}; convert it, "
            "e.g. iconv -f latin1 -t utf-8"
        ) from None
    if not text.strip():
        raise KdnasError(f"{path} is empty; give a file with text")
    return text


def _other_format(raw: bytes) -> str:
    """What a file is that is no text in UTF-8, and what to do; nothing where it may be one."""
    for mark, problem in _MARKS.items():
        if raw.startswith(mark):
            return problem
    nuls = raw.count(b"\0")
    if nuls > len(raw) / 10:
        return f"holds NUL bytes: it is UTF-16, or no text; {_CONVERT}"
    if nuls:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        return f"holds a NUL byte in line {line}; remove it, e.g. tr -d '\\000'"
    return ""


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as a frame; KdnasError where it cannot be read as one."""
    import pandas as pd  # takes a second

    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow's are of many kinds: a damaged page, a codec it lacks, ...
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KdnasError(f"{path} cannot be read as Parquet: {reason}") from None


def _plain_lines(text: str) -> Numbered:
    # Quotes are ordinary characters here, and only a newline ends a line: str.splitlines would
    # also break at the rarer separators that occur inside sentences.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip("\r"):
            yield number, list(line.removesuffix("\r").split("\t"))


def _quoted_lines(path: Path, text: str) -> Numbered:
    """Rows of a .csv or .tsv file, each with the line that it begins in."""
    csv.field_size_limit(LONGEST_FIELD)
    tabs = path.suffix.lower() == ".tsv"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True)
    begin, told = 1, not tabs
    try:
        for row in reader:
            if row:
                yield begin, list(row)
                if not told and any("\t" in cell and "\n" in cell for cell in row):
                    told = True
                    say(
                        f"{path}, line {begin}: a quoted field holds tabs and line breaks; if "
                        "quotes are ordinary characters there, set `quoting: false` in the task"
                    )
            begin = reader.line_num + 1
    except csv.Error as error:
        name = "TSV" if tabs else "CSV"
        remedy = ", or set `quoting: false` in the task" if tabs else ""
        raise KdnasError(
            f"{path} cannot be read as {name}: {error} in the row that begins in line {begin}; "
            f"write a quote inside a quoted field twice{remedy}"
        ) from None


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


def select_columns(rows: Rows, spec: TaskSpec, split: str) -> RawSplit:
    """A task's columns of a split's table, without the rows that lack a text or are malformed.

    A test row without a text stays, because it needs a prediction.

    Raises:
        KdnasError: A column is missing (of a test split, a text column), or the table has no row.
    """
    needs_labels = split not in spec.test_splits
    columns = (*spec.text, spec.label)
    places = {column: find_column(column, rows.header, rows.source) for column in columns}
    required = [*spec.text, spec.label] if needs_labels else spec.text
    missing = [column for column in required if places[column] is None]
    if missing:
        names = ", ".join(" or ".join(map(repr, column.headers)) for column in missing)
        found = ", ".join(repr(n if len(n) <= 40 else f"{n[:37]}...") for n in rows.header)
        hint = ""
        if len(rows.header) == 1 and _SEPARATOR.search(rows.header[0]):
            hint = "; separate the fields of a .csv file by commas, of a .tsv file by tabs"
        raise KdnasError(f"{rows.source} lacks the column {names}; found {found or 'none'}{hint}")
    texts = [at for column in spec.text if (at := places[column]) is not None]
    label = places[spec.label]
    kept: list[tuple[int, list[Any]]] = []
    faulty: dict[str, list[int]] = {}
    for number, cells in rows.cells:
        fault = _fault(cells, rows.header, texts, needs_text=needs_labels)
        if fault:
            faulty.setdefault(fault, []).append(number)
        else:
            kept.append((number, cells))
    if not kept and not faulty:
        raise KdnasError(f"{rows.source} is empty: it has a header and no {rows.unit} below it")
    words = [[cell_text(cells[i]) for _, cells in kept] for i in texts]
    return RawSplit(
        source=rows.source,
        text=words[0],
        text_pair=words[1] if len(words) == 2 else None,
        cells=None if label is None else [cells[label] for _, cells in kept],
        places=[number for number, _ in kept],
        unit=rows.unit,
        faults=tuple(Fault(reason, len(at), at[0]) for reason, at in faulty.items()),
        classes=() if label is None else tuple(rows.classes.get(label, ())),
        unlabelled=spec.unlabelled,
    )


def cell_text(cell: Any) -> str:
    """A cell's text; empty where it has none."""
    return cell if isinstance(cell, str) else ""


def _fault(cells: list[Any], header: list[str], texts: list[int], *, needs_text: bool) -> str:
    """What a row has that makes it useless, as in `line 3 has ...`; nothing where it is sound."""
    if len(cells) != len(header):
        return f"{several(len(cells), 'field')} instead of {len(header)}"
    for i in texts:
        if not isinstance(cells[i], str) and not is_empty(cells[i]):
            return f"{kind_of(cells[i])} instead of text under {header[i]!r}"
        if needs_text and not cell_text(cells[i]).strip():
            return f"no text under {header[i]!r}"
    return ""
