"""The rows of a local table file, whatever its format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from kdnas.errors import KdnasError

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet")

# Characters of a CSV field; a field may hold a whole document.
LONGEST_FIELD = 2**31 - 1

IsHeader = Callable[[list[str]], bool]
Numbered = Iterator[tuple[int, list[Any]]]
Records = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Rows:
    """A table, read row by row.

    Attributes:
        source: The file or hub split, as error messages name it.
        header: The column names.
        cells: Each row's number and its cells; a malformed row has too few or too many.
        unit: What the numbers count: `line` or `row`.
        classes: By column, the names of its classes in the order of their ids, where known.
    """

    source: str
    header: list[str]
    cells: Numbered
    unit: str = "row"
    classes: Mapping[int, list[str]] = field(default_factory=dict)


def read_rows(path: Path, headerless: tuple[str, ...], is_header: IsHeader) -> Rows:
    """The rows of a .tsv, .csv, .jsonl, .json or .parquet file.

    Args:
        path: The file.
        headerless: Column names for a .tsv or .csv file whose first row is no header.
        is_header: Whether a first row is one.

    Raises:
        KdnasError: The file is empty, not UTF-8, or not in the format of its suffix.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    text = read_text(path)
    if suffix in (".jsonl", ".json"):
        return _json(path, text)
    lines = _csv_lines(path, text) if suffix == ".csv" else _tsv_lines(text)
    return _with_header(path, lines, headerless, is_header)


def read_text(path: Path) -> str:
    """A file's text, without a byte-order mark; a .gz file is unpacked.

    Raises:
        KdnasError: The file cannot be read, is empty, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise KdnasError(f"cannot read {path}: {error}") from None
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


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as a frame.

    Raises:
        KdnasError: The file cannot be read as Parquet.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors and OSErrors
        raise KdnasError(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}"
        ) from None


def json_records(path: Path, text: str) -> Records:
    """The objects of a JSON-lines file, or of one JSON array, with their numbers.

    Raises:
        KdnasError: A line is not JSON, or not an object.
    """
    if text.lstrip().startswith("["):
        items: Iterator[tuple[int, Any]] = enumerate(_parse_json(path, text, 1), start=1)
    else:
        lines = enumerate(text.split("\n"), start=1)
        items = ((n, _parse_json(path, line, n)) for n, line in lines if line.strip())
    for number, item in items:
        if not isinstance(item, dict):
            raise KdnasError(
                f"{path}, line {number}: found {str(item)[:40]!r}; give a JSON object such as "
                '{"text": "...", "label": "..."}'
            )
        yield number, item


def _parse_json(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise KdnasError(
            f"{path} cannot be read as JSON lines: {error.msg} in line {line + error.lineno - 1}"
        ) from None


def _json(path: Path, text: str) -> Rows:
    records = list(json_records(path, text))
    # Of all records: any of them may lack a key, e.g. the label.
    header = list(dict.fromkeys(key for _, record in records for key in record))
    if not records:
        raise KdnasError(f"{path} is empty; give a file with examples")
    cells = ((n, [record.get(key) for key in header]) for n, record in records)
    return Rows(str(path), header, cells, "line")


def _parquet(path: Path) -> Rows:
    frame = read_parquet(path)
    columns = [frame[name].tolist() for name in frame.columns]
    cells = ((n, list(row)) for n, row in enumerate(zip(*columns, strict=True), start=1))
    return Rows(str(path), [str(name) for name in frame.columns], cells)


def _with_header(
    path: Path, lines: Numbered, headerless: tuple[str, ...], is_header: IsHeader
) -> Rows:
    first = list(islice(lines, 2))  # two, because the first row of a headerless file may be bad
    rows = chain(first, lines)
    header = [str(cell).strip() for cell in first[0][1]]
    if not is_header(header) and any(len(cells) == len(headerless) for _, cells in first):
        return Rows(str(path), list(headerless), rows, "line")
    return Rows(str(path), header, islice(rows, 1, None), "line")


def _tsv_lines(text: str) -> Numbered:
    # Quotes are ordinary characters here, and only a newline ends a line: str.splitlines would
    # also break at the rarer separators that occur inside sentences.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip("\r"):
            yield number, list(line.removesuffix("\r").split("\t"))


def _csv_lines(path: Path, text: str) -> Numbered:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, list(row)
    except csv.Error as error:
        raise KdnasError(
            f"{path} cannot be read as CSV: {error} in line {reader.line_num}; write a quote "
            "inside a quoted field twice"
        ) from None
