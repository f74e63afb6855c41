"""Parallel text files: `train.en` and `train.de`, line by line; also packed with gzip."""

from __future__ import annotations

import re
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.tasks.formats.endings import ending_of, stem_of
from kdnas.tasks.formats.tables import Rows, numbered
from kdnas.tasks.formats.text import read_text
from kdnas.tasks.spec import TaskSpec

PACKED = ".gz"


def endings_of(spec: TaskSpec) -> tuple[str, ...]:
    """Of the files with a task's sources: `.en` and `.en.gz`, for a text column `en`."""
    names = [name.lower() for name in spec.text[0].headers]
    return tuple(f".{name}{packed}" for name in names for packed in ("", PACKED))


def read_parallel(path: Path, spec: TaskSpec) -> Rows:
    """The lines of a file of sources, each with its line in the files of targets beside it.

    Further references stand in files with a number: `test.de1`, `test.de2`. Without any file of
    targets there are sources alone, as from `read_sources`.

    Raises:
        KdnasError: A file cannot be read, is there twice, or has another number of lines.
    """
    return _read(path, spec, _targets(path, spec))


def read_sources(path: Path, spec: TaskSpec) -> Rows:
    """The lines of a file of sources alone.

    Raises:
        KdnasError: It cannot be read.
    """
    return _read(path, spec, {})


def _read(path: Path, spec: TaskSpec, targets: dict[str, Path]) -> Rows:
    ending = ending_of(path, endings_of(spec))
    files = {ending.removesuffix(PACKED).lstrip("."): path, **targets}
    columns, assumed = list[list[str]](), list[str]()
    for file in files.values():
        text = read_text(file, spec.encoding)
        columns.append([line.removesuffix("\r") for line in _lines(text.content)])
        assumed += (f"{file.name} {told}" for told in text.assumed)
        if len(columns[-1]) != len(columns[0]):
            raise KdnasError(
                f"{path} has {len(columns[0]):,} lines, {file.name} {len(columns[-1]):,}; give "
                "files of which each line belongs to the same line of the other"
            )
    rows = numbered(zip(*columns, strict=True))
    hint = f"put {stem_of(path, endings_of(spec))}.{spec.label[0].name} beside it"
    beside = ", ".join(file.name for file in targets.values())
    source = f"{path} and {beside}" if beside else str(path)
    return Rows(source, list(files), rows, "line", assumed=tuple(assumed), hint=hint)


def _targets(path: Path, spec: TaskSpec) -> dict[str, Path]:
    """The files of targets beside a file of sources, by their columns."""
    stem = stem_of(path, endings_of(spec))
    names = "|".join(re.escape(name) for name in spec.label[0].headers)
    form = re.compile(rf"{re.escape(stem)}\.((?:{names})\d*)({re.escape(PACKED)})?", re.IGNORECASE)
    found: dict[str, Path] = {}
    for other in sorted(path.parent.iterdir()):
        matched = form.fullmatch(other.name)
        if matched is None or other == path:
            continue
        if matched[1] in found:
            raise KdnasError(
                f"{path.parent} holds {found[matched[1]].name} and {other.name}; keep one"
            )
        found[matched[1]] = other
    return found


def _lines(content: str) -> list[str]:
    """Only a newline ends a line; the last one may end with it or not."""
    return content.removesuffix("\n").split("\n")
