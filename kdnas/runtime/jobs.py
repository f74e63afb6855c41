"""Jobs of one process are done one after the other.

They share its plan, its random numbers and torch's threads, and a latency that is measured while
another thread computes is none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kdnas.errors import KdnasError

_lock = threading.Lock()
# By process and thread, the jobs that it is in, the outermost first, and whether each is to be
# alone. A forked process inherits this, but not the other threads.
_jobs: dict[tuple[int, int], list[bool]] = {}


@contextmanager
def job(*, alone: bool = True) -> Iterator[None]:
    """Keeps other threads of this process from jobs within the block; also a decorator.

    A thread may begin a job within its own.

    Args:
        alone: Whether no other thread may have a job meanwhile; those of which none is to be alone
            go side by side.

    Raises:
        KdnasError: Another thread has a job that this one cannot stand beside.
    """
    own = os.getpid(), threading.get_ident()
    with _lock:
        others = [kinds for key, kinds in _jobs.items() if key != own and key[0] == own[0]]
        if any(alone or any(kinds) for kinds in others):
            raise KdnasError(
                "another kdnas job runs in this process: wait for it, or start a process of its own"
            )
        ours = _jobs.setdefault(own, [])
        ours.append(alone)
    try:
        yield
    finally:
        with _lock:
            ours.pop()
            if not ours:
                del _jobs[own]
