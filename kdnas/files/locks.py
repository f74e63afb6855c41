"""Locks between processes, on files. The kernel frees the lock of a killed process."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from kdnas.errors import KdnasError
from kdnas.files.atomic import written_in_words
from kdnas.runtime.console import say

DAY = 24 * 3600.0
SAY_AFTER = 10.0
# What a file system without locks answers: a network's whose service is off, or one of a program.
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


@contextmanager
def file_lock(
    path: Path, waiting_for: str, timeout: float = DAY, refusal: str | None = None
) -> Iterator[None]:
    """Holds a lock while the block runs; waits for it as long as another process has it.

    Args:
        path: The lock file; it stays.
        waiting_for: What the holder does, as in "another process fine-tunes the teacher".
        timeout: Seconds to wait at most.
        refusal: The error message after that; default: what was waited for and where.

    Raises:
        KdnasError: The lock was not free in time, its file cannot be written, or the file system
            has no locks.
    """
    lock = FileLock(path)
    try:
        with written_in_words(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _acquire(lock, waiting_for, timeout)
    except Timeout:
        raise KdnasError(
            refusal
            or f"waited {timeout:g} s: {waiting_for} and holds {path}; end that process, or run "
            "this command again when it is done"
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        raise KdnasError(
            f"cannot lock {path}: its file system has no file locks; choose a folder on another one"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, waiting_for: str, timeout: float) -> None:
    """Waits for a lock, and says so once that takes long; raises Timeout in the end."""
    try:
        lock.acquire(timeout=min(timeout, SAY_AFTER))
    except Timeout:
        if timeout <= SAY_AFTER:
            raise
        say(f"waiting: {waiting_for}")
        lock.acquire(timeout=timeout - SAY_AFTER)
