"""Endings of files' names, which may have several parts: `.jsonl.gz`, `.en.gz`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def ending_of(path: Path, endings: Iterable[str]) -> str:
    """The longest of some endings, in small letters, that a file's name has; '' where none.

    Golden: of `.gz` and `.jsonl.gz`, 'train.JSONL.gz' has '.jsonl.gz'.
    """
    name = path.name.lower()
    return max((one for one in endings if name.endswith(one)), key=len, default="")


def stem_of(path: Path, endings: Iterable[str]) -> str:
    """A file's name without the longest of some endings that it has; else without its last one."""
    ending = ending_of(path, endings)
    return path.name[: -len(ending)] if ending else path.stem


def unpacked_suffix(path: Path) -> str:
    """The last part of a name before `.gz`, in small letters.

    Golden: 'train.jsonl.gz' and 'train.jsonl' -> '.jsonl'.
    """
    packed = path.suffix.lower() == ".gz"
    return Path(path.stem).suffix.lower() if packed else path.suffix.lower()
