"""The cache that all runs of a user share: what is in it, who uses it, and how large it may be.

An entry is made by one run and found by later ones. Those used least recently are removed where
the cache is larger than its limit; what a running process uses stays.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kdnas.errors import KdnasError
from kdnas.files.atomic import ABANDONED_SECONDS, make_writable, write_text
from kdnas.runtime.process import is_here, lives, process_name
from kdnas.runtime.shown import quoted

# The kinds of entries, each a folder, in the words of people.
KINDS = {
    "teachers": "fine-tuned teachers",
    "signal": "outputs of teachers for the training data",
    "out-of-fold": "outputs for training data by teachers that have not seen them",
    "students": "general students, which know no task",
    "pseudo-labels": "texts that teachers wrote for the training data",
    "views": "what losses learn from a teacher alone, such as filters",
    "importance": "which parts of a teacher matter",
}
FOLDER, LIMIT = "KDNAS_CACHE", "KDNAS_CACHE_LIMIT"
DEFAULT_LIMIT = "20GB"
NO_LIMIT = "none"
IN_USE = "in-use"
ABOUT = ".about"  # how the file ends that says what an entry is

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([KMGT]B)", re.IGNORECASE)
_AGES = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([mhdw])", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """Something in the cache."""

    kind: str
    name: str
    paths: tuple[Path, ...]  # its folder or file, and what belongs to it
    size: int  # bytes
    used: float  # when a run last used it, seconds since the epoch
    in_use: bool = False  # by a process that runs
    about: str = ""  # what it is, in words

    @property
    def lock(self) -> Path:
        """Held by the process that makes it."""
        return cache_folder() / self.kind / f"{self.name}.lock"


@dataclass
class _Own:
    """What this process uses, and the limit of its run."""

    used: set[str]
    pid: int = 0
    limit: str | None = None


_own = _Own(set())


def cache_folder() -> Path:
    """The folder: KDNAS_CACHE, else ~/.cache/kdnas.

    Raises:
        KdnasError: This user has no home folder.
    """
    try:
        named = Path(os.environ.get(FOLDER) or "~/.cache/kdnas")
        return named.expanduser().absolute()
    except RuntimeError:
        raise KdnasError(
            f"this user has no home folder for the cache; set {FOLDER} to a folder"
        ) from None


def set_limit(limit: str | None) -> None:
    """The limit that a run's settings name for this process; None leaves it to the environment."""
    _own.limit = limit


def limit_in_bytes(limit: str | None = None) -> int | None:
    """A limit such as 20GB in bytes, by default that of the run or the environment; None: no limit.

    Raises:
        KdnasError: It is no size.
    """
    given = limit or _own.limit
    where = "--cache-limit" if given else LIMIT
    text = given or os.environ.get(LIMIT) or DEFAULT_LIMIT
    if text.strip().lower() == NO_LIMIT:
        return None
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise KdnasError(f"invalid {where} {quoted(text)}: expected a size such as 20GB, or none")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def age_in_seconds(text: str) -> float:
    """An age such as 12h, 30d or 2w in seconds; raises KdnasError where it is none."""
    found = _AGE.fullmatch(text.strip())
    if not found:
        raise KdnasError(
            f"invalid --older-than {quoted(text)}: expected an age such as 12h, 30d or 2w"
        )
    return float(found[1]) * _AGES[found[2].lower()]


def check_cache() -> None:
    """Raises KdnasError where the cache cannot be written or its limit is no size."""
    limit_in_bytes()
    try:
        make_writable(cache_folder())
    except KdnasError as error:
        raise KdnasError(
            f"{error} (the cache); set {FOLDER} to a folder that can be written"
        ) from None


def place_of(kind: str, name: str) -> Path:
    """Where an entry is, if it is there; it may be removed at any time."""
    return cache_folder() / kind / name


def use(kind: str, name: str, about: str) -> Path:
    """Where an entry is, or is to be made. While this process runs, nobody removes it.

    `about` tells people what it is; the entry keeps it.

    Entries that were used least recently make room where the cache is over its limit.
    """
    path = place_of(kind, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _mark(f"{kind}/{_name(path)}")
    with suppress(OSError):
        os.utime(path)
    make_room()
    told = path.parent / f"{_name(path)}{ABOUT}"
    if not told.exists():
        with suppress(OSError, KdnasError):
            write_text(told, " ".join(about.split()))
    return path


def entries() -> list[Entry]:
    """All that is in the cache, the least recently used first."""
    in_use, found = _in_use(), []
    for kind in KINDS:
        groups: dict[str, list[Path]] = {}
        with suppress(OSError):
            for path in (cache_folder() / kind).iterdir():
                if path.suffix != ".lock":
                    groups.setdefault(_name(path), []).append(path)
        for name, paths in groups.items():
            with suppress(OSError, UnicodeDecodeError):  # removed meanwhile
                times = [path.stat().st_mtime for path in paths]
                size = sum(map(_size, paths))
                used = f"{kind}/{name}" in in_use
                about = next((p.read_text(encoding="utf-8") for p in paths if _tells(p)), "")
                whole = tuple(sorted(paths))
                found.append(Entry(kind, name, whole, size, max(times), used, about))
    return sorted(found, key=lambda entry: entry.used)


def remove(chosen: Callable[[Entry], bool]) -> tuple[list[Entry], list[Entry]]:
    """Removes the entries that are chosen; returns those removed, and those still in use."""
    removed, kept = list[Entry](), list[Entry]()
    for entry in filter(chosen, entries()):
        (removed if _removed(entry) else kept).append(entry)
    return removed, kept


def make_room() -> list[Entry]:
    """Removes what was used least recently until the cache keeps its limit; returns it."""
    limit = limit_in_bytes()
    if limit is None:
        return []
    there, removed = entries(), []
    excess = sum(entry.size for entry in there) - limit
    for entry in there:
        if excess > 0 and _removed(entry):
            excess -= entry.size
            removed.append(entry)
    return removed


def _removed(entry: Entry) -> bool:
    """Removes an entry unless a process uses or makes it; returns whether it did."""
    with _locked(entry) as free:
        if not free or f"{entry.kind}/{entry.name}" in _in_use():
            return False
        for path in entry.paths:
            gone = path.with_name(f".gone.{path.name}")
            with suppress(OSError):
                path.rename(gone)  # at once, so that nobody finds a part of it
            if gone.is_dir():
                shutil.rmtree(gone, ignore_errors=True)
            else:
                gone.unlink(missing_ok=True)
    return not any(path.exists() for path in entry.paths)


@contextmanager
def _locked(entry: Entry) -> Iterator[bool]:
    """Holds an entry's lock; yields False where another process has it."""
    lock = FileLock(entry.lock)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _mark(key: str) -> None:
    """Lets other processes know what this one uses."""
    if _own.pid != os.getpid():  # also in a fork
        _own.used, _own.pid = set(), os.getpid()
        atexit.register(_unmark, os.getpid())
    if key not in _own.used:
        _own.used.add(key)
        file = _own_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write(f"{key}\n")


def _unmark(pid: int) -> None:
    if pid == os.getpid():
        with suppress(OSError, KdnasError):
            _own_file().unlink(missing_ok=True)


def _own_file() -> Path:
    return cache_folder() / IN_USE / process_name().replace(":", "~")


def _in_use() -> set[str]:
    """What processes that run use; on other machines, what was used in the last days."""
    found: set[str] = set()
    with suppress(OSError):
        for file in (cache_folder() / IN_USE).iterdir():
            with suppress(OSError, ValueError):
                owner = file.name.replace("~", ":")
                age = time.time() - file.stat().st_mtime
                if lives(owner) if is_here(owner) else age < ABANDONED_SECONDS:
                    found |= set(file.read_text(encoding="utf-8").split())
                else:
                    file.unlink(missing_ok=True)
    return found


def _name(path: Path) -> str:
    """The entry that a file or folder belongs to: its manifest and checkpoint are named alike."""
    return path.name.removeprefix(".gone.").lstrip(".").partition(".")[0]


def _tells(path: Path) -> bool:
    return path.suffix == ABOUT


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
