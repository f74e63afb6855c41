"""Tables as text: what separates their fields, and their rows, also as Excel writes them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.tasks.formats.endings import unpacked_suffix
from kdnas.tasks.spec import Column

# Characters of a CSV field; a field may hold a whole document.
LONGEST_FIELD = 2**31 - 1
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Excel's first line that names the separator, which it may fill up to the width of the table.
_NAMED = re.compile(r'"?sep=(\t|[^\w\s"])"?[,;\t]*(\r\n|\r|\n|$)', re.IGNORECASE)
# Rows that are looked at for the delimiter, within so many characters.
_SAMPLE, _LOOKED_AT = 50, 1 << 20
# The share of rows, of ten or more, that have as many fields as the header.
_REGULAR = 0.9

Numbered = Iterator[tuple[int, list[str]]]


class Delimited:
    """The rows of a .csv or .tsv file as they are read, each with the line that it begins in.

    Attributes:
        delimiter: What separates fields: what the file's first line says; else the one that gives
            a header with all of `columns`; else the suffix's own, unless another one alone cuts
            all rows alike.
        assumed: What a person should know of how it was read.
    """

    def __init__(
        self, path: Path, text: str, columns: Sequence[Column] = (), width: int = 0
    ) -> None:
        """`width`: the number of fields, where the file has no header."""
        self.path, self.text = path, text
        self.tabs = unpacked_suffix(path) == ".tsv"
        default, named = "\t" if self.tabs else ",", _NAMED.match(text)
        self.begin = named.end() if named else 0
        self.delimiter = (
            named[1] if named else find_delimiter(text, default, columns=columns, width=width)
        )
        found = DELIMITERS.get(self.delimiter, repr(self.delimiter))
        self.assumed = () if self.delimiter == default else (f"fields separated by {found}",)

    def rows(self) -> Numbered:
        """All rows that are no empty lines.

        Raises:
            KdnasError: Quotes do not match; the message names the line.
        """
        csv.field_size_limit(LONGEST_FIELD)
        reader = _reader(self.text[self.begin :] if self.begin else self.text, self.delimiter)
        skipped = int(self.begin > 0)
        begin, told = 1 + skipped, not self.tabs
        try:
            for row in reader:
                if row:
                    yield begin, row
                    if not told and any("\t" in cell and "\n" in cell for cell in row):
                        told = True
                        say(
                            f"{self.path}, line {begin}: a quoted field holds tabs and line "
                            "breaks; if quotes are ordinary characters there, set "
                            "`quoting: false` in the task"
                        )
                begin = reader.line_num + 1 + skipped
        except csv.Error as error:
            name = "TSV" if self.tabs else "CSV"
            remedy = ", or set `quoting: false` in the task" if self.tabs else ""
            raise KdnasError(
                f"{self.path} cannot be read as {name}: {error} in the row that begins in line "
                f"{begin}; write a quote inside a quoted field twice{remedy}"
            ) from None


def find_delimiter(
    text: str, default: str, *, columns: Sequence[Column] = (), width: int = 0
) -> str:
    """The delimiter of a table; the default where nothing speaks clearly for another.

    Args:
        text: Of the file.
        default: That of its suffix.
        columns: Those that are wanted: a header that has them all is right.
        width: The number of fields of a table without header; 0 where it should have one.

    Golden: 'a;b\\n"x;y";1,5' -> ';'; 'text\\na;b' -> ','; 'a,b\\nx;y,1' -> ','.
    """
    samples = {d: _sample(text, d) for d in (default, *(d for d in DELIMITERS if d != default))}
    for delimiter, (rows, _) in samples.items():
        if columns and rows and _has(columns, rows[0]):
            return delimiter
    for delimiter, (rows, sound) in samples.items():
        if sound and rows and _is_regular(rows, width or len(_named_part(rows[0]))):
            return delimiter
    return default


def without_padding(
    rows: list[tuple[int, list[str]]], width: int, named: int
) -> tuple[list[tuple[int, list[str]]], tuple[str, ...]]:
    """Rows without the empty fields and rows that spreadsheets write around a table.

    Args:
        rows: Those below the header.
        width: Fields of the header.
        named: Its fields up to the last one that is not empty: a row has at least as many.

    Returns:
        The rows, each of which has `width` fields unless it is malformed; and what was left out.
    """
    end = len(rows)
    while end and len(rows[end - 1][1]) > 1 and not any(c.strip() for c in rows[end - 1][1]):
        end -= 1
    kept, longer = list[tuple[int, list[str]]](), 0
    for number, cells in rows[:end]:
        padding = [""] * (width - len(cells)) if len(cells) >= named else []
        too_long = len(cells) > width and not any(cell.strip() for cell in cells[width:])
        kept.append((number, cells[:width] if too_long else [*cells, *padding]))
        longer += too_long
    told = []
    if longer:
        told.append(f"{several(longer, 'row')} without the empty fields behind the last column")
    if end < len(rows):
        told.append(f"{several(len(rows) - end, 'empty row')} at the end left out")
    return kept, tuple(told)


def named_width(header: Sequence[str]) -> int:
    """Fields of a header up to the last one that is not empty."""
    return len(_named_part(header))


def _named_part(header: Sequence[str]) -> Sequence[str]:
    end = len(header)
    while end and not header[end - 1].strip():
        end -= 1
    return header[:end]


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _sample(text: str, delimiter: str) -> tuple[list[list[str]], bool]:
    """The first rows under a delimiter, and whether all of them could be read."""
    csv.field_size_limit(LONGEST_FIELD)
    whole = len(text) <= _LOOKED_AT
    head = text if whole else text[: text.rfind("\n", 0, _LOOKED_AT) + 1 or _LOOKED_AT]
    rows: list[list[str]] = []
    try:
        for row in islice(filter(None, _reader(head, delimiter)), _SAMPLE):
            rows.append(row)
    except csv.Error:  # where the text was cut, perhaps inside quotes, the rows before it count
        return rows, not whole and len(rows) > 1
    return rows, True


def _has(columns: Sequence[Column], header: Sequence[str]) -> bool:
    names = {cell.strip().casefold() for cell in header}
    return all(any(h.casefold() in names for h in column.headers) for column in columns)


def _is_regular(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether rows have so many fields, two or more, empty ones at their ends aside."""
    fitting = sum(len(_named_part(row)) <= width <= len(row) for row in rows)
    enough = _REGULAR * len(rows) if len(rows) >= 10 else len(rows)
    return width > 1 and fitting >= enough
