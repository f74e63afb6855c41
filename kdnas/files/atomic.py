"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import glob
import itertools
import json
import os
import shutil
import stat
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.process import is_here, lives, process_name
from kdnas.runtime.shown import quoted

# No space; no quota.
FULL = {errno.ENOSPC, errno.EDQUOT}
TOO_LARGE = "larger than this process may write (ulimit -f)"
# A disk, a folder or a file that this user may only read.
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
# What other machines left is theirs to sweep, unless it is older than this.
ABANDONED_SECONDS = 7 * 24 * 3600.0
# A writer needs no longer between moving an old folder away and its new one into place.
SWAP_SECONDS = 60.0
PARTIAL, OLD = "partial", "old"
NEWLINE = "\n"


@contextmanager
def replace_file(path: Path, needed: int | None = None, *, private: bool = False) -> Iterator[Path]:
    """Yields a path beside `path` to write to, and renames it over `path` at the end.

    Args:
        path: Keeps what it has if anything fails.
        needed: Bytes that will be written, where that is known.
        private: Whether its owner alone may read it.

    Raises:
        KdnasError: The disk is full, or `path` cannot be written.
    """
    partial = _beside(path, PARTIAL)
    with written_in_words(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        try:
            with _mode_kept(partial, 0o600 if private else 0o666):
                yield partial
            set_aside_unless_file(path)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def make_file(path: Path) -> Iterator[Path]:
    """Like `replace_file`, but a file that another process made meanwhile stays."""
    partial = _beside(path, PARTIAL)
    with written_in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        try:
            with _mode_kept(partial, 0o666):
                yield partial
            try:
                os.link(partial, path)
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                if not path.exists():
                    partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yields an empty folder beside `path` to fill, and moves it to `path` at the end.

    The old folder stays until the new one is in place; `restore` brings it back where a crash came
    between. Arguments and errors are those of `replace_file`.
    """
    partial = _beside(path, PARTIAL)
    with written_in_words(path, needed):
        _remove(partial)
        restore(path)
        sweep(path)
        try:
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):  # safetensors makes files that only their owner reads
                file.chmod(file.stat().st_mode | 0o444)
            _swap(partial, path)
        finally:
            _remove(partial)


def restore(path: Path) -> None:
    """Puts an old folder back whose replacement a crash cut off; readers call it before they look.

    A writer that still runs finishes by itself.
    """
    if path.exists():
        return
    for old in _left(path, OLD):
        # Renaming changes the time of the status, not of the content.
        if _is_dead(old, OLD, path) or time.time() - old.stat().st_ctime > SWAP_SECONDS:
            with suppress(OSError):  # another process was quicker
                old.rename(path)


def sweep(path: Path) -> None:
    """Removes what dead processes of this machine began to write beside a path."""
    for kind in (PARTIAL, OLD):
        for left in _left(path, kind):
            with suppress(OSError):  # another process was quicker
                age = time.time() - left.stat().st_mtime
                if _is_dead(left, kind, path) or age > ABANDONED_SECONDS:
                    _remove(left)


def make_writable(folder: Path) -> None:
    """Makes a folder where there is none, and checks that files can be written to it.

    Raises:
        KdnasError: It cannot be made or written, or its name has control characters.
    """
    try:
        made = [path.name for path in (folder, *folder.parents) if not path.exists()]
        if odd := [name for name in made if any(unicodedata.category(c) == "Cc" for c in name)]:
            raise KdnasError(
                f"invalid folder name {quoted(odd[-1])}: it has control characters; choose another"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KdnasError(f"cannot write to {folder}: {error.strerror}") from None
    check_writable(folder)


def check_writable(folder: Path, instead: str = "") -> None:
    """Raises KdnasError where files cannot be written to a folder; `instead` says what to give."""
    probe = folder / f".writable.{process_name().replace(':', '~')}"
    try:
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        hint = f"; {instead}" if instead else ""
        raise KdnasError(f"cannot write to {folder}: {error.strerror}{hint}") from None


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Writes a text file, whole or not at all."""
    with replace_file(path, private=private) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any | None:
    """The value in a JSON file; None where it is missing, not JSON, or nested too deeply."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file, apart from what a crash cut short before it.

    Raises:
        KdnasError: The disk is full, or the file cannot be written.
    """
    set_aside_unless_file(path)
    with written_in_words(path), path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        cut_short = end > 0 and file.seek(end - 1) >= 0 and file.read(1) != b"\n"
        file.write(f"{NEWLINE * cut_short}{line}\n".encode())


def move(path: Path, target: Path) -> None:
    """Moves a file or folder to a place, over what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _swap(path, target)


def set_aside_unless_file(path: Path) -> None:
    """Moves what is in the place of a file, but is none, to another name: a folder, a dead link."""
    if os.path.lexists(path) and not path.is_file():
        set_aside(path)


def set_aside(path: Path) -> Path:
    """Renames a file or folder to NAME.old-N beside it, and tells a person; the new name."""
    names = (path.with_name(f"{path.name}.old-{n}") for n in itertools.count(1))
    target = next(name for name in names if not os.path.lexists(name))
    path.rename(target)
    say(f"moved what was in {path} to {target.name}")
    return target


@contextmanager
def written_in_words(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns the errors, met while the block writes `path`, that are no mistake into one line.

    Of a full disk there are many.

    Raises:
        KdnasError: The disk, or this user's quota, is full; the file is larger than this process
            may write; or this user may only read there.
    """
    try:
        yield
    except Exception as error:
        if told := _in_words(error, path, needed):
            raise KdnasError(told) from None
        raise


def _in_words(error: Exception, path: Path, needed: int | None) -> str | None:
    number = lacks_room(error)
    if number is None:
        if isinstance(error, OSError) and _forbids(error, path):
            return f"cannot write to {path.parent}: {error.strerror}"
        return None
    size = f"it takes {needed / 1e6:,.1f} MB, " if needed else ""
    again = "then continue with kdnas resume (finished steps are kept)"
    if number == errno.EFBIG:
        return f"cannot write {path}: {size}{TOO_LARGE}; raise that limit, {again}"
    existing = next(f for f in (path, *path.absolute().parents) if f.exists())
    free = f"{shutil.disk_usage(existing).free / 1e6:,.1f} MB"
    return f"no space left to write {path}: {size}{free} are free there; make room, {again}"


def lacks_room(error: BaseException | None) -> int | None:
    """The number of the error behind another that says that a file has no room; None for others.

    Libraries wrap it in errors of their own.
    """
    while error is not None:
        for number in (*FULL, errno.EFBIG):
            if isinstance(error, OSError) and error.errno == number:
                return number
            if f"(os error {number})" in str(error):  # from Rust
                return number
        error = error.__cause__ or error.__context__
    return None


def _forbids(error: OSError, path: Path) -> bool:
    """Whether an error says that a path may not be written; others concern what was read."""
    if error.errno not in READ_ONLY or not isinstance(error.filename, str):
        return False
    at, own = Path(error.filename).absolute(), path.absolute()
    partial = _beside(own, PARTIAL)
    return at in (own, *own.parents) or partial in (at, *at.parents)


def _beside(path: Path, kind: str) -> Path:
    """This process's own name for what it writes or moves beside a path."""
    return path.with_name(f".{path.name}.{process_name().replace(':', '~')}.{kind}")


@contextmanager
def _mode_kept(partial: Path, mode: int) -> Iterator[None]:
    """Makes an empty file to write to, and gives what took its place the same mode at the end.

    Of `mode`, what the umask takes away is left out. Libraries such as safetensors make files anew
    that only their owner reads.
    """
    partial.unlink(missing_ok=True)
    partial.touch(mode)
    made = stat.S_IMODE(partial.stat().st_mode)
    yield
    if stat.S_IMODE(partial.stat().st_mode) != made:
        partial.chmod(made)


def _left(path: Path, kind: str) -> list[Path]:
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*~*.{kind}"))


def _is_dead(left: Path, kind: str, path: Path) -> bool:
    """Whether the process that left something is of this machine and has ended."""
    owner = left.name.removeprefix(f".{path.name}.").removesuffix(f".{kind}").replace("~", ":")
    return is_here(owner) and not lives(owner)


def _swap(partial: Path, path: Path) -> None:
    old = _beside(path, OLD)
    _remove(old)
    try:
        if os.path.lexists(path):  # a dead link is in the way, too
            path.rename(old)
        partial.rename(path)
    finally:
        if os.path.lexists(old) and not path.exists():  # interrupted between the two
            old.rename(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
