"""Verdict and table of a run, or a table of several, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdnas.report.compare import COLUMNS
from kdnas.report.data import ReportData
from kdnas.report.search_summary import progress_lines
from kdnas.report.worth import worth
from kdnas.report.write import models_table


def markdown_of(data: ReportData) -> str:
    """The verdict, the models, and what the search's score was worth."""
    lines = [f"### {_text(data.title)}", ""]
    table, known = models_table(data), worth(data)
    if data.report is None or table is None:
        told = progress_lines(data.progress) or ["No student is finished yet."]
        lines += [f"{_text(line)}  " for line in told]
        return "\n".join(lines) + "\n"
    lines += [_text(data.report.verdict), "", *_table(table.head, table.rows), ""]
    lines.append(f"{_text(table.caption)} {_text(known.sentence) if known else ''}".rstrip())
    return "\n".join(lines) + "\n"


def markdown_of_several(rows: Sequence[dict[str, Any]]) -> str:
    """A row a run, with the columns that any run has a value for."""
    keys = [key for key in COLUMNS if any(row[key] is not None for row in rows)]
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    return "\n".join(_table([COLUMNS[key] for key in keys], cells)) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, its first column to the left and numbers to the right."""
    rule = "|".join(("---", *["---:"] * (len(head) - 1)))
    lines = [f"| {' | '.join(map(_text, row))} |" for row in (head, *rows)]
    return [lines[0], f"|{rule}|", *lines[1:]]


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    for special in "\\`*_[]<>|#":
        text = text.replace(special, f"\\{special}")
    return " ".join(text.split())
