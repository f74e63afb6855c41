"""A disk that is full ends the command in one line; what was there before stays."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdnas.errors import KdnasError

# No space; no quota; larger than this process may write (`ulimit -f`).
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def told_if_full(path: Path, needed: int | None = None) -> Iterator[None]:
    """Tells in one line when there is no space for what is written meanwhile.

    Args:
        path: File or folder that is written.
        needed: Its size in bytes, where that is known.

    Raises:
        KdnasError: The disk is full, or this user's share of it.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(_existing(path)).free
        size = f"it takes {_megabytes(needed)}, " if needed else ""
        raise KdnasError(
            f"no space left to write {path}: {size}{_megabytes(free)} are free there; what is "
            "finished is kept, and after making room kdnas resume goes on"
        ) from None


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error; libraries wrap it in errors of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(f"(os error {number})" in str(error) for number in FULL):  # from Rust
            return True
        error = error.__cause__ or error.__context__
    return False


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
