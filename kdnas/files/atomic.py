"""Files that are there whole or not at all."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from kdnas.errors import KdnasError
from kdnas.files.disk import told_if_full

T = TypeVar("T")


def sweep(path: Path) -> None:
    """Removes what killed processes had begun to write beside a path."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        pid = partial.name.split(".")[-2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)


@contextmanager
def replace_file(path: Path, needed: int | None = None, *, private: bool = False) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it over `path` at the end.

    Args:
        path: Keeps what it has if anything fails.
        needed: Bytes that will be written, where that is known.
        private: Whether its owner alone may read it.

    Raises:
        KdnasError: The disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with told_if_full(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        try:
            if private:
                partial.touch(mode=0o600)
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill, and moves it to `path` at the end.

    Args:
        path: Keeps what it has if anything fails.
        needed: Bytes that will be written, where that is known.

    Raises:
        KdnasError: The disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    sweep(path)
    with told_if_full(path, needed):
        try:
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):  # safetensors' are for their owner alone to read
                file.chmod(file.stat().st_mode | 0o444)
            shutil.rmtree(path, ignore_errors=True)
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def make_writable(folder: Path) -> None:
    """Makes a folder, where there is none, and sees whether files can be written to it.

    Raises:
        KdnasError: It cannot be made or written.
    """
    probe = folder / f".writable.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise KdnasError(f"cannot write to {folder}: {error.strerror}") from None


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Writes a text file, whole or not at all."""
    with replace_file(path, private=private) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any | None:
    """The value in a JSON file; None where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file.

    Raises:
        KdnasError: The disk is full.
    """
    with told_if_full(path), path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def once(path: Path, key: Any, compute: Callable[[], T]) -> T:
    """A JSON value that was computed before, by the same key, else computed now and kept.

    Args:
        path: The file that keeps it.
        key: Plain values that decide the result.
        compute: Makes it.
    """
    stored = read_json(path)
    if isinstance(stored, dict) and stored.get("key") == key:
        result: T = stored["result"]
        return result
    result = compute()
    write_json(path, {"key": key, "result": result})
    return result
