"""From the rows of a table to the texts and label cells of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdnas.errors import KdnasError
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.formats.tables import Rows
from kdnas.tasks.spec import Column, TaskSpec


def find_column(column: Column, header: Sequence[str]) -> int | None:
    """Index of the column in the header, letter case aside where need be; None: it is not there."""
    for names in (list(header), [name.casefold() for name in header]):
        for accepted in column.headers:
            for wanted in (accepted, accepted.casefold()):
                if wanted in names:
                    return names.index(wanted)
    return None


def has_text_columns(spec: TaskSpec, header: Sequence[str]) -> bool:
    """Whether every text column of the task is there, as in a header and not in a first row."""
    return all(find_column(column, header) is not None for column in spec.text)


def select_columns(rows: Rows, spec: TaskSpec, needs_labels: bool) -> RawSplit:
    """The task's columns of a table, without the rows that lack a text or are malformed.

    A test row without a text stays, because it needs a prediction.

    Raises:
        KdnasError: A column is missing (the label column, only where labels are needed), or the
            table has no row.
    """
    texts, label = _positions(rows, spec, needs_labels)
    kept: list[tuple[int, list[Any]]] = []
    dropped, first_dropped = 0, ""
    for number, cells in rows.cells:
        fault = _fault(cells, rows.header, texts if needs_labels else [])
        if fault:
            first_dropped = first_dropped or f"{rows.unit} {number} {fault}"
            dropped += 1
        else:
            found = [cells[i] if isinstance(cells[i], str) else "" for i in texts]
            kept.append((number, [*found, *(cells[i] for i in label)]))
    if not kept and not dropped:
        raise KdnasError(f"{rows.source} is empty: it has a header and no {rows.unit} below it")
    width = len(texts)
    return RawSplit(
        source=rows.source,
        text=[cells[0] for _, cells in kept],
        text_pair=[cells[1] for _, cells in kept] if width == 2 else None,
        cells=[cells[-1] for _, cells in kept] if label else None,
        places=[number for number, _ in kept],
        unit=rows.unit,
        dropped=dropped,
        first_dropped=first_dropped,
        classes=tuple(rows.classes.get(label[0], ())) if label else (),
    )


def _positions(rows: Rows, spec: TaskSpec, needs_labels: bool) -> tuple[list[int], list[int]]:
    wanted = [*spec.text, spec.label]
    found = [find_column(column, rows.header) for column in wanted]
    required = wanted if needs_labels else list(spec.text)
    missing = [c for c, at in zip(wanted, found, strict=True) if at is None and c in required]
    if missing:
        names = ", ".join(" or ".join(map(repr, column.headers)) for column in missing)
        raise KdnasError(
            f"{rows.source} lacks the column {names}; found {', '.join(map(_short, rows.header))}"
        )
    texts = [at for at in found[:-1] if at is not None]
    return texts, [found[-1]] if found[-1] is not None else []


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:37] + "...")


def _fault(cells: list[Any], header: list[str], texts: list[int]) -> str:
    if len(cells) != len(header):
        return f"has {len(cells)} fields instead of {len(header)}"
    for i in texts:
        if not isinstance(cells[i], str) or not cells[i].strip():
            return f"has no text under {header[i]!r}"
    return ""
