"""A clock of work: it stands still while this process waits for others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds that this process has waited for others, in all.
_waited = 0.0


def working_seconds() -> float:
    """A clock that stands still within `waiting`.

    What some work takes is the difference of two readings; their zero means nothing.
    """
    return time.perf_counter() - _waited


@contextmanager
def waiting() -> Iterator[None]:
    """What this process does within waits for another one."""
    global _waited  # noqa: PLW0603
    start = time.perf_counter()
    try:
        yield
    finally:
        _waited += time.perf_counter() - start
