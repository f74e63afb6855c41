"""The formats of a task's local files, by name; `format:` in a task's entry names one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdnas.tasks.formats import conll, parallel, squad
from kdnas.tasks.formats.endings import ending_of
from kdnas.tasks.formats.tables import SUFFIXES, Rows, read_table
from kdnas.tasks.spec import TaskSpec


@dataclass(frozen=True)
class FileFormat:
    """A format of files that hold one split.

    Attributes:
        endings: Of its files' names, in small letters; those of a task where they depend on its
            columns.
        read: The rows of a file; raises KdnasError where it is in another format or damaged.
        claims: Whether a file is in this format and no other, judged by its content or by an ending
            that no other format has; it raises nothing.
        any_suffix: Whether a file that a task names in full may have any other ending.
        read_texts: The same as `read` without labels that stand in other files; None: none do.
    """

    endings: tuple[str, ...] | Callable[[TaskSpec], tuple[str, ...]]
    read: Callable[[Path, TaskSpec], Rows]
    claims: Callable[[Path], bool] = lambda _: True
    any_suffix: bool = False
    read_texts: Callable[[Path, TaskSpec], Rows] | None = None

    def endings_of(self, spec: TaskSpec) -> tuple[str, ...]:
        """Of a task's files."""
        return self.endings(spec) if callable(self.endings) else self.endings


def _read_table(path: Path, spec: TaskSpec) -> Rows:
    return read_table(path, spec.text, spec)


def _read_squad(path: Path, spec: TaskSpec) -> Rows:
    return squad.read_squad(path, spec.encoding)


# A task's type names those that its data come in, the most special one first.
FORMATS: dict[str, FileFormat] = {
    "table": FileFormat(SUFFIXES, _read_table),
    "conll": FileFormat(conll.SUFFIXES, conll.read_conll, conll.is_conll, any_suffix=True),
    "squad": FileFormat(squad.SUFFIXES, _read_squad, squad.is_squad),
    "parallel": FileFormat(
        parallel.endings_of, parallel.read_parallel, read_texts=parallel.read_sources
    ),
}


def read_split(path: Path, spec: TaskSpec) -> Rows:
    """The rows of a split's file.

    Raises:
        KdnasError: It cannot be read.
    """
    return _format_of_split(path, spec).read(path, spec)


def read_texts(path: Path, spec: TaskSpec) -> Rows | None:
    """The rows of a file of texts to label, which may have no labels.

    One that the task names in full is read as a split's. None where it is a table, and where any
    other is in none of the task's formats, judged by its content.

    Raises:
        KdnasError: It cannot be read.
    """
    if is_named(path, spec):
        fitting = [_format_of_split(path, spec)]
    else:
        fitting = _ended(path, spec) or _of_any_suffix(spec)
        fitting = [one for one in fitting if one.claims(path)]
    found = next((one for one in fitting if one is not FORMATS["table"]), None)
    return None if found is None else (found.read_texts or found.read)(path, spec)


def is_named(path: Path, spec: TaskSpec) -> bool:
    """Whether a task names a file in full, and reads it whatever its ending is."""
    return bool(_of_any_suffix(spec)) and any(path.name in one for one in spec.files.values())


def _format_of_split(path: Path, spec: TaskSpec) -> FileFormat:
    """The format of a split's file: by its ending; of several, the first that claims it."""
    fitting = _ended(path, spec)
    if len(fitting) > 1:
        fitting = [one for one in fitting if one.claims(path)]
    return (fitting or _of_any_suffix(spec) or _formats(spec))[0]


def _ended(path: Path, spec: TaskSpec) -> list[FileFormat]:
    """The formats that a file's name has an ending of."""
    return [one for one in _formats(spec) if ending_of(path, one.endings_of(spec))]


def _of_any_suffix(spec: TaskSpec) -> list[FileFormat]:
    return [one for one in _formats(spec) if one.any_suffix]


def suffixes_of(spec: TaskSpec) -> tuple[str, ...]:
    """The endings of files that a task's data may come in."""
    return tuple(dict.fromkeys(end for one in _formats(spec) for end in one.endings_of(spec)))


def _formats(spec: TaskSpec) -> list[FileFormat]:
    names = spec.task_type.formats if spec.format is None else (spec.format,)
    return [FORMATS[name] for name in names]
