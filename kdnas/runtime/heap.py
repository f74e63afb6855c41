"""The memory of tensors on a CPU: kept by the process, in huge pages.

A step of a training allocates what the last one freed. glibc gives large blocks back to the system
at once, which clears them, page by page, for the next step; and a table of pages of 4 kB is too
large for the processor, which looks each of them up. See docs/results/speed.md for what both cost.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from kdnas.runtime.cores import free_memory

# Of <malloc.h>: blocks from this size on lie outside of the heap; free memory at its end from this
# size on is given back.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
NEVER, LARGEST = -1, 2**31 - 1
# The heap is laid out for this share of the memory that is free, in blocks of so many bytes.
SHARE, BLOCK = 0.5, 2**30
# Variables by which users choose how memory is allocated.
CHOSEN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")

P = ParamSpec("P")
R = TypeVar("R")


@cache
def keep_memory() -> bool:
    """Lets the process keep what it frees, in huge pages where the system has them.

    Addresses are set aside, not memory: that is taken as it is used. Nothing changes where the C
    library is not glibc, or where the user's environment says how memory is allocated.

    Returns:
        Whether memory is kept.
    """
    if not sys.platform.startswith("linux") or is_chosen(os.environ):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    kept: int = library.mallopt(MMAP_THRESHOLD, LARGEST) and library.mallopt(TRIM_THRESHOLD, NEVER)
    if kept:
        _lay_out(library)
    return bool(kept)


def giving_back(work: Callable[P, R]) -> Callable[P, R]:
    """A function after which the system gets the memory that it no longer needs; a decorator.

    So other processes have what a training needed at its height.
    """

    @wraps(work)
    def then_given_back(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        finally:
            if keep_memory():
                library = ctypes.CDLL(None)
                library.malloc_trim(ctypes.c_size_t(0))
                _lay_out(library)  # what was set aside is given back with all else

    return then_given_back


def is_chosen(names: Iterable[str]) -> bool:
    """Whether variables of such names say how memory is allocated."""
    return any(name.startswith(CHOSEN) for name in names)


def _is_counted() -> bool:
    """Whether addresses count as memory: set aside, they would be missing elsewhere."""
    import resource  # not on Windows

    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    if any(limit != resource.RLIM_INFINITY for limit in limits):
        return True
    try:
        return OVERCOMMIT.read_text().strip() == "2"
    except OSError:
        return False


def _lay_out(library: ctypes.CDLL) -> None:
    """Sets aside addresses for what a training needs, in huge pages, where that harms nobody."""
    if not _is_counted():
        _in_huge_pages(library, int(SHARE * free_memory()) // BLOCK)


def _in_huge_pages(library: ctypes.CDLL, blocks: int) -> None:
    """Lets the heap grow by so many blocks and asks for huge pages there."""
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.sbrk.restype, library.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    first = library.sbrk(0)
    taken = [library.malloc(BLOCK) for _ in range(blocks)]
    for block in taken:
        library.free(block)  # a failed one is None, as C's NULL
    start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
    if (length := library.sbrk(0) - start) > 0:
        library.madvise(start, length, mmap.MADV_HUGEPAGE)  # may fail: then pages stay small
